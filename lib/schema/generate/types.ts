/** The TypeScript types of values: what generated files declare, by form. */

import { typeForm, type Form, type Part, type Plan, type VariantForm } from '../forms.js';
import { pascalCase } from '../pascal.js';
import * as runtime from '../runtime.js';

/** Names that generated code needs itself. */
const TAKEN: readonly string[] = [
  ...Object.keys(runtime),
  ...'Array Buffer DataView Map Uint8Array BigInt Object String Number Boolean Symbol'.split(' '),
  ...'Error Codec Date Promise Record Readonly Sink ListView MapView Cursor RootCursor'.split(' '),
  ...'Set ArchiveCodec MapRules Int32Array Float32Array Float64Array'.split(' '),
];

/** Names the types of a plan. */
export class TypeNames {
  readonly #names = new Map<string, string>();

  constructor(plan: Plan) {
    const used = new Set(TAKEN);
    for (const key of plan.types.keys()) {
      const parts = typeForm(plan, key).name.split('.');
      let name = '';
      // From the last part on: market.Order is Order, unless something else is Order already.
      for (let take = 1; take <= parts.length && (name === '' || used.has(name)); take++) {
        name = parts.slice(-take).map(capital).join('');
      }
      while (used.has(name) || used.has(`${name}View`)) name += '_';
      used.add(name).add(`${name}View`);
      this.#names.set(key, name);
    }
  }

  /** The name of a user type. */
  of(key: string): string {
    return this.#names.get(key) ?? 'unknown';
  }

  /** The type of the values of a form. */
  value(form: Form): string {
    switch (form.form) {
      case 'number':
        return form.big ? 'bigint' : 'number';
      case 'long':
        return form.js;
      case 'huge':
        return 'bigint';
      case 'bool':
        return 'boolean';
      case 'char':
      case 'string':
      case 'boxstr':
        return 'string';
      case 'unit':
        return 'null';
      case 'bytes':
      case 'blob':
        return 'Uint8Array';
      case 'list':
      case 'array': {
        const elem = this.value(form.elem);
        return /^[\w.]+$/.test(elem) ? `${elem}[]` : `(${elem})[]`;
      }
      case 'box':
        return this.value(form.elem);
      case 'option': {
        const elem = this.value(form.elem);
        return form.nested ? `{ some: ${elem} } | null` : `${elem} | null`;
      }
      case 'tuple':
        return this.#tuple(form.parts);
      case 'map':
        return `Map<${this.value(form.key)}, ${this.value(form.value)}>`;
      case 'type':
        return this.of(form.type);
      default:
        return 'unknown';
    }
  }

  /** The type of a struct or of what a variant holds. */
  parts(shape: string, parts: readonly Part[], quoteName: (name: string) => string): string {
    if (shape === 'tuple') return this.#tuple(parts);
    if (parts.length === 0) return '{}';
    const member = ({ name, form }: Part): string => `${quoteName(name)}: ${this.value(form)};`;
    return `{ ${parts.map(member).join(' ')} }`;
  }

  /** The type of one variant of an enum with data. */
  variant(variant: VariantForm, quoteName: (name: string) => string): string {
    const kind = `kind: '${variant.name}'`;
    if (variant.shape === 'unit') return `{ ${kind} }`;
    return `{ ${kind}; value: ${this.parts(variant.shape, variant.parts, quoteName)} }`;
  }

  #tuple(parts: readonly Part[]): string {
    return `[${parts.map(({ form }) => this.value(form)).join(', ')}]`;
  }
}

function capital(name: string): string {
  const pascal = pascalCase(name) || 'Type';
  return /^\p{ID_Start}/u.test(pascal) ? pascal : `_${pascal}`;
}
