/**
 * Text of generated code: functions, classes and names, in JavaScript or, with types, in
 * TypeScript. What the code does is decided in `readers.ts`, `writers.ts` and `cursors.ts`.
 */

import { typeForm, type Form, type FormOf, type Plan, type TypeForm } from '../forms.js';
import { TypeNames } from './types.js';

/** A parameter and its type. */
export type Parameter = readonly [name: string, type: string];

/** Names, and if necessary makes, what reads and writes maps of a form. */
export type MapNamer = (e: Emitter, form: FormOf<'map'>) => string;

/** The parameters of functions that read something. */
export const READ: readonly Parameter[] = [
  ['d', 'DataView'],
  ['b', 'Buffer'],
  ['p', 'number'],
];

/** Collects generated code. */
export class Emitter {
  readonly plan: Plan;
  /** Whether the code is TypeScript. */
  readonly typed: boolean;
  readonly names: TypeNames;
  /** What the code needs of the runtime. */
  readonly used: Set<string> = new Set();
  /** Values that code refers to and no literal spells. */
  readonly constants: unknown[] = [];

  readonly #chunks: string[] = [];
  readonly #helpers = new Map<string, Map<unknown, string>>();
  #count = 0;

  readonly #nameMap: MapNamer;

  constructor(plan: Plan, typed: boolean, nameMap: MapNamer) {
    this.plan = plan;
    this.typed = typed;
    this.#nameMap = nameMap;
    this.names = new TypeNames(plan);
  }

  /** All code so far. */
  get text(): string {
    return this.#chunks.join('\n');
  }

  /** The name of something of the runtime. */
  rt(name: string): string {
    this.used.add(name);
    return name;
  }

  /** A type annotation. */
  type(type: string): string {
    return this.typed ? `: ${type}` : '';
  }

  /** An expression, as of some type. */
  as(expression: string, type: string): string {
    return this.typed ? `(${expression} as ${type})` : expression;
  }

  /** A name that nothing else has. */
  fresh(prefix: string): string {
    // No name of a type or a field has a $, so no prefix ends where another one goes on.
    return `${prefix}$${this.#count++}`;
  }

  add(chunk: string): void {
    this.#chunks.push(chunk);
  }

  /** Adds a function. */
  fn(
    name: string,
    parameters: readonly Parameter[],
    result: string,
    lines: readonly string[],
  ): void {
    const body = lines.join('\n');
    const list = this.parameters(parameters, body);
    this.add(`function ${name}(${list})${this.type(result)} {\n${body}\n}`);
  }

  /** Parameters as in the head of a function; one that the body does not use begins with _. */
  parameters(parameters: readonly Parameter[], body: string): string {
    const one = ([name, type]: Parameter): string => {
      return `${uses(body, name) ? '' : '_'}${name}${this.type(type)}`;
    };
    return parameters.map(one).join(', ');
  }

  /** The name of a helper of some kind for some form; made when first asked for. */
  helper(kind: string, what: unknown, make: (name: string) => void): string {
    return this.#once(kind, what, () => this.fresh(kind), make);
  }

  /** As {@link helper}, with a name that is given. */
  named(kind: string, what: unknown, name: string, make: (name: string) => void): string {
    return this.#once(kind, what, () => name, make);
  }

  #once(kind: string, what: unknown, nameIt: () => string, make: (name: string) => void): string {
    let known = this.#helpers.get(kind);
    if (known === undefined) this.#helpers.set(kind, (known = new Map()));
    let name = known.get(what);
    if (name === undefined) {
      name = nameIt();
      // Known before it is made: types may mention themselves.
      known.set(what, name);
      make(name);
    }
    return name;
  }

  userType(name: string): TypeForm {
    return typeForm(this.plan, name);
  }

  /** The name of the object that reads and writes maps of a form. */
  map(form: FormOf<'map'>): string {
    return this.#nameMap(this, form);
  }

  /** The type of a form's values. */
  valueType(form: Form): string {
    return this.names.value(form);
  }
}

/** Whether code mentions a variable; members and keys of that name do not count. */
export function uses(code: string, name: string): boolean {
  return new RegExp(`(?<![.$\\w])${name}(?![$\\w:])`).test(code);
}

/** A position and an offset as an expression. */
export function plus(p: string, offset: number): string {
  if (offset === 0) return p;
  const [, base, before] = /^(.*) \+ (\d+)$/.exec(p) ?? [];
  return base === undefined ? `${p} + ${offset}` : `${base} + ${Number(before) + offset}`;
}

/** How a member is accessed. */
export function member(value: string, name: string): string {
  if (/^\d+$/.test(name)) return `${value}[${name}]`;
  return isPlainName(name) ? `${value}.${name}` : `${value}[${JSON.stringify(name)}]`;
}

/** How a member is declared in a literal or a class. */
export function key(name: string): string {
  if (/^\d+$/.test(name)) return name;
  return isPlainName(name) ? name : `[${JSON.stringify(name)}]`;
}

/** Names with a meaning of their own in literals and classes are spelled as computed members. */
function isPlainName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && name !== '__proto__' && name !== 'constructor';
}

/** Text as a literal. */
export function quote(text: string): string {
  const escaped = JSON.stringify(text).slice(1, -1).replaceAll("'", "\\'").replaceAll('\\"', '"');
  return `'${escaped.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')}'`;
}

/** The accessor of a DataView for a number. */
export const ACCESSORS: Readonly<Record<string, string>> = {
  u8: 'Uint8',
  u16: 'Uint16',
  u32: 'Uint32',
  i8: 'Int8',
  i16: 'Int16',
  i32: 'Int32',
  f32: 'Float32',
  f64: 'Float64',
};

/** `d.getUint16(p, true)` */
export function get(d: string, scalar: string, p: string): string {
  const order = scalar === 'u8' || scalar === 'i8' ? '' : ', true';
  return `${d}.get${ACCESSORS[scalar] ?? ''}(${p}${order})`;
}

/** Whether a struct or variant reads as an array. */
export function isList(shape: string): boolean {
  return shape === 'tuple';
}
