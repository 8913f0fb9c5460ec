/**
 * Where in a value that cannot be written the trouble is. Writers only say what is wrong, so that
 * they carry no paths; when they have failed, the value is tried again here, part by part, until
 * the smallest part that fails is found. That part's path and error are what users see.
 */

import { show } from '../errors.js';
import { typeForm, type Form, type Part, type Plan, type TypeForm } from './forms.js';
import { Interpreter, type Ops } from './interpret.js';
import { isList } from './lists.js';
import { join, SchemaError } from './problems.js';
import { freeSink, OVERFLOW, writeScratch } from './sink.js';

/** A root type whose values are written, for its errors. */
export interface WrittenRoot {
  readonly name: string;
  /** The plan that it is in. */
  readonly plan: () => Plan;
}

/** The error for a value of a root type that cannot be written, with its place. */
export function located({ name, plan }: WrittenRoot, value: unknown, error: unknown): SchemaError {
  const forms = plan();
  const { size, align } = typeForm(forms, name);
  const root = { form: 'type', type: name, size, align } as const;
  try {
    return new Locator(forms).find(root, value, name) ?? placed(name, error);
  } catch (thrown) {
    // Of a getter that is in the way of what it holds.
    return thrown instanceof SchemaError ? thrown : placed(name, error);
  }
}

/** A part of a value. */
interface Child {
  readonly form: Form;
  readonly value: unknown;
  readonly path: string;
}

class Locator {
  readonly #plan: Plan;
  readonly #interpreter: Interpreter;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#interpreter = new Interpreter(plan);
  }

  /** The error of the first smallest part that cannot be written; nothing if all of them can. */
  find(form: Form, value: unknown, path: string): SchemaError | undefined {
    const error = attempt(this.#interpreter.ops(form), value);
    if (error === undefined) return undefined;
    for (const part of this.#children(form, value, path)) {
      const found = this.find(part.form, part.value, part.path);
      if (found !== undefined) return found;
    }
    return placed(path, error);
  }

  /** The parts of a value that is of the right kind, in the order in which they are written. */
  #children(form: Form, value: unknown, path: string): Iterable<Child> {
    switch (form.form) {
      case 'type':
        return this.#members(typeForm(this.#plan, form.type), value, path);
      case 'tuple':
        return parts(form.parts, value, path);
      case 'list':
      case 'array':
        return elements(form.elem, value, path);
      case 'bytes':
      case 'blob':
        return Array.isArray(value) ? elements(BYTE, value, path) : [];
      case 'box':
        return [{ form: form.elem, value, path }];
      case 'option': {
        if (value === null || value === undefined) return [];
        if (!form.nested) return [{ form: form.elem, value, path }];
        if (typeof value !== 'object' || !('some' in value)) return [];
        return [{ form: form.elem, value: value.some, path: join(path, 'some') }];
      }
      case 'map':
        return value instanceof Map ? entries(form.key, form.value, value, path) : [];
      default:
        return [];
    }
  }

  #members(type: TypeForm, value: unknown, path: string): Iterable<Child> {
    if (type.form === 'struct') return parts(type.parts, value, path);
    if (type.isPlain || typeof value !== 'object' || value === null) return [];
    const { kind, value: held } = value as { kind?: unknown; value?: unknown };
    const variant = type.variants.find(({ name }) => name === kind);
    if (variant === undefined || variant.shape === 'unit') return [];
    const { size, align } = type;
    const form = { form: 'tuple', parts: variant.parts, size, align } as const;
    return [{ form, value: held, path: join(path, 'value') }];
  }
}

const BYTE = { form: 'number', scalar: 'u8', big: false, size: 1, align: 1 } as const;

function* parts(all: readonly Part[], value: unknown, path: string): Iterable<Child> {
  if (typeof value !== 'object' || value === null) return;
  for (const { name, form } of all) {
    yield child(form, value, name, /^\d+$/.test(name) ? `${path}[${name}]` : join(path, name));
  }
}

function* elements(form: Form, value: unknown, path: string): Iterable<Child> {
  if (!isList(value)) return;
  const { length } = value;
  for (let index = 0; index < length; index++) {
    yield child(form, value, String(index), `${path}[${index}]`);
  }
}

/** @throws SchemaError what the member's getter throws */
function child(form: Form, value: object, name: string, path: string): Child {
  try {
    return { form, value: (value as Readonly<Record<string, unknown>>)[name], path };
  } catch (error) {
    throw placed(path, error);
  }
}

function* entries(
  key: Form,
  value: Form,
  map: ReadonlyMap<unknown, unknown>,
  path: string,
): Iterable<Child> {
  let index = 0;
  for (const [k, v] of map) {
    yield { form: key, value: k, path: `${path}[key ${index}]` };
    const which = typeof k === 'object' ? `value ${index}` : show(k);
    yield { form: value, value: v, path: `${path}[${which}]` };
    index++;
  }
}

/** What writing a value throws, if it throws. */
function attempt(ops: Ops, value: unknown): unknown {
  const s = freeSink();
  try {
    writeScratch(
      s,
      () => {
        s.reserve(ops.slots);
        ops.out(s, value as never);
        const p = s.take(ops.size, ops.align);
        s.ri = 0;
        ops.fix(s, s.d, value as never, p);
      },
      value,
    );
    return undefined;
  } catch (error) {
    return error === OVERFLOW ? undefined : error;
  } finally {
    s.release();
  }
}

function placed(path: string, error: unknown): SchemaError {
  const message = error instanceof Error ? error.message : String(error);
  return new SchemaError('ERR_SERIALIZE_FAILED', path, message, { cause: error });
}
