/** Which rules of `keys.ts` the keys of a map follow, by their form. */

import { typeForm, type Form, type Part, type Plan } from './forms.js';
import * as keys from './keys.js';
import type { KeyRules } from './keys.js';
import { schemaInvalid } from './problems.js';

/** Deeper keys are of a type that contains itself. */
const DEPTH_MAX = 64;

const WIDTHS = { u8: 1, u16: 2, u32: 4, i8: 1, i16: 2, i32: 4, f32: 0, f64: 0 } as const;

/** The rules of keys with that form. */
export function keyRules(plan: Plan, form: Form, depth = 0): KeyRules<unknown> {
  if (depth > DEPTH_MAX) throw schemaInvalid('', 'keys of maps are nested too deep');
  return rulesOf(plan, form, depth + 1) as unknown as KeyRules<unknown>;
}

function rulesOf(plan: Plan, form: Form, depth: number): KeyRules {
  const inner = (elem: Form): KeyRules<unknown> => keyRules(plan, elem, depth);
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
      return keys.list(inner(form.elem), integerWidth(form.elem));
    case 'box':
      return inner(form.elem);
    case 'constant':
      return keys.constant;
    case 'option':
    case 'some':
      return keys.option(inner(form.elem), form.nested);
    case 'tuple':
      return keys.parts(partRules(plan, form.parts, depth));
    case 'type':
      return userRules(plan, form.type, depth);
    default:
      break;
  }
  throw schemaInvalid('', 'floats cannot be keys of a map');
}

function userRules(plan: Plan, key: string, depth: number): KeyRules {
  const type = typeForm(plan, key);
  if (type.form === 'struct') return keys.parts(partRules(plan, type.parts, depth));
  return keys.variants(
    type.variants.map(({ name, tag, parts }) => {
      const rules = keys.parts(partRules(plan, parts, depth)) as unknown as KeyRules<unknown>;
      return [name, tag, rules] as const;
    }),
  );
}

function partRules(
  plan: Plan,
  parts: readonly Part[],
  depth: number,
): readonly (readonly [string, KeyRules<unknown>])[] {
  return parts.map(({ name, form }) => [name, keyRules(plan, form, depth)] as const);
}

/** Bytes of an integer, 0 for everything else. */
function integerWidth(form: Form): number {
  if (form.form === 'number') return WIDTHS[form.scalar];
  return form.form === 'long' || form.form === 'huge' ? form.size : 0;
}
