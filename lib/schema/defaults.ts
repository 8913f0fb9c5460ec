/** Default values: what a descriptor says in JSON, as a value of the field's type. */

import { typeOf } from './check.js';
import type { Descriptor, KindDescriptor } from './descriptor.js';
import { fieldOptions, isNullable, isPlain, type FormOptions } from './forms.js';
import { join, schemaInvalid } from './problems.js';

/** Throws for a default that is no value of its field. */
export function checkDefaults(types: Descriptor, options: FormOptions): void {
  for (const [name, type] of Object.entries(types.types)) {
    const fields =
      type.kind === 'struct' ? type.fields : type.variants.flatMap((one) => one.fields);
    for (const field of fields.filter((one) => Object.hasOwn(one, 'default'))) {
      const path = join(name, field.name);
      valueOfDefault(path, field.default, field, fieldOptions(field, options), types);
    }
  }
}

/** The value that `json` stands for in a place. */
export function valueOfDefault(
  path: string,
  json: unknown,
  place: KindDescriptor,
  options: FormOptions,
  types: Descriptor,
): unknown {
  const inner = (part: unknown, elem: KindDescriptor): unknown =>
    valueOfDefault(path, part, elem, options, types);
  const wrong = (): Error => {
    return schemaInvalid(
      path,
      `the default ${JSON.stringify(json)} is no value of a ${place.kind}`,
    );
  };
  const list = (length = Infinity): readonly unknown[] => {
    if (Array.isArray(json) && (length === Infinity || json.length === length)) return json;
    throw wrong();
  };
  switch (place.kind) {
    case 'bool':
      if (typeof json === 'boolean') return json;
      throw wrong();
    case 'char':
      if (typeof json === 'string' && isOneChar(json)) return json;
      throw wrong();
    case 'string':
    case 'boxstr':
      if (typeof json === 'string' && isWellFormed(json)) return json;
      throw wrong();
    case 'unit':
      return null;
    case 'option':
      if (json === null) return null;
      return isNullable(place.elem) ? { some: inner(json, place.elem) } : inner(json, place.elem);
    case 'box':
      return inner(json, place.elem);
    case 'vec':
    case 'boxslice':
      return elements(list(), place.elem, inner);
    case 'array':
      return elements(list(place.length), place.elem, inner);
    case 'tuple':
      return list(place.elems.length).map((part, at) =>
        inner(part, place.elems[at] as KindDescriptor),
      );
    case 'hashmap':
    case 'btreemap':
      if (list().length === 0) return new Map();
      throw wrong();
    case 'type': {
      const type = typeOf(types, place.type);
      // One that holds something would need that, too.
      const isVariant =
        type.kind === 'enum' &&
        type.variants.some(({ name, shape }) => name === json && shape === 'unit');
      if (!isVariant) throw wrong();
      return isPlain(type) ? json : { kind: json };
    }
    default:
      return number(json, place.kind, options, wrong);
  }
}

function elements(
  parts: readonly unknown[],
  elem: KindDescriptor,
  inner: (part: unknown, elem: KindDescriptor) => unknown,
): unknown {
  const values = parts.map((part) => inner(part, elem));
  return elem.kind === 'u8' ? Uint8Array.from(values as number[]) : values;
}

/** Halves of surrogate pairs have no UTF-8. */
function isWellFormed(text: string): boolean {
  return !/\p{Cs}/u.test(text);
}

/** One Unicode scalar value: surrogates alone are none. */
function isOneChar(text: string): boolean {
  return /^[^\p{Cs}]$/su.test(text);
}

/**
 * Integers beyond 2^53 are strings in JSON, so that nobody rounds them, and so is what JSON has no
 * number for.
 */
function number(json: unknown, kind: string, options: FormOptions, wrong: () => Error): unknown {
  const bits = Number(kind.slice(1));
  if (kind.startsWith('f')) return float(json, bits, wrong);
  const isText = typeof json === 'string' && /^-?\d+$/.test(json);
  if (!isText && !Number.isSafeInteger(json)) throw wrong();
  const value = BigInt(json as number | string);
  const fits = kind.startsWith('u') ? BigInt.asUintN(bits, value) : BigInt.asIntN(bits, value);
  if (fits !== value) throw wrong();
  if (bits === 128 || (bits === 64 && options.u64 === 'bigint')) return value;
  if (!Number.isSafeInteger(Number(value))) throw wrong();
  return Number(value);
}

function float(json: unknown, bits: number, wrong: () => Error): number {
  const value = typeof json === 'string' ? BEYOND_JSON.get(json) : json;
  if (typeof value !== 'number') throw wrong();
  if (bits === 64) return value;
  const rounded = Math.fround(value);
  if (Number.isFinite(value) && !Number.isFinite(rounded)) throw wrong();
  return rounded;
}

const BEYOND_JSON = new Map([
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);
