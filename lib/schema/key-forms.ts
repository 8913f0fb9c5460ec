/** Which rules of `keys.ts` the keys of a map follow, by their form. */

import { typeForm, type Form, type Part, type Plan, type TypeForm } from './forms.js';
import * as keys from './keys.js';
import type { KeyRules } from './keys.js';
import { schemaInvalid } from './problems.js';

const WIDTHS = { u8: 1, u16: 2, u32: 4, i8: 1, i16: 2, i32: 4, f32: 0, f64: 0 } as const;

/** The rules of keys with that form. */
export function keyRules(plan: Plan, form: Form): KeyRules<unknown> {
  return new Keys(plan).rules(form);
}

/** The rules of the types of a plan, each made once: else they would double with each mention. */
class Keys {
  readonly #plan: Plan;
  /** Of a type that is being looked at, there are none yet. */
  readonly #types = new Map<string, KeyRules | undefined>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  rules(form: Form): KeyRules<unknown> {
    return this.#of(form) as unknown as KeyRules<unknown>;
  }

  #of(form: Form): KeyRules {
    switch (form.form) {
      case 'number': {
        const width = WIDTHS[form.scalar];
        if (width === 0) break;
        return keys.small(width * 8);
      }
      case 'long':
        return keys.long;
      case 'huge':
        return keys.huge;
      case 'bool':
        return keys.bool;
      case 'char':
        return keys.char;
      case 'unit':
        return keys.unit;
      case 'string':
      case 'boxstr':
        return keys.string;
      case 'bytes':
      case 'blob':
        return keys.bytes;
      case 'list':
      case 'array':
        return keys.list(this.rules(form.elem), integerWidth(form.elem));
      case 'box':
        return this.rules(form.elem);
      case 'constant':
        return keys.constant;
      case 'option':
      case 'some':
        return keys.option(this.rules(form.elem), form.nested);
      case 'tuple':
        return keys.parts(this.#parts(form.parts));
      case 'type':
        return this.#type(form.type);
      default:
        break;
    }
    throw schemaInvalid('', 'floats cannot be keys of a map');
  }

  #type(key: string): KeyRules {
    if (!this.#types.has(key)) {
      this.#types.set(key, undefined);
      this.#types.set(key, this.#user(typeForm(this.#plan, key)));
    }
    const rules = this.#types.get(key);
    if (rules !== undefined) return rules;
    throw schemaInvalid('', 'keys of maps are of a type that contains itself');
  }

  #user(type: TypeForm): KeyRules {
    if (type.form === 'struct') return keys.parts(this.#parts(type.parts));
    return keys.variants(
      type.variants.map(({ name, tag, parts }) => {
        const rules = keys.parts(this.#parts(parts)) as unknown as KeyRules<unknown>;
        return [name, tag, rules] as const;
      }),
    );
  }

  #parts(parts: readonly Part[]): readonly (readonly [string, KeyRules<unknown>])[] {
    return parts.map(({ name, form }) => [name, this.rules(form)] as const);
  }
}

/** Bytes of an integer, 0 for everything else. */
function integerWidth(form: Form): number {
  if (form.form === 'number') return WIDTHS[form.scalar];
  return form.form === 'long' || form.form === 'huge' ? form.size : 0;
}
