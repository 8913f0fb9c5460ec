/** Default values: what a descriptor says in JSON, as a value of the field's type. */

import { typeOf } from './check.js';
import type { Descriptor, KindDescriptor } from './descriptor.js';
import { isNullable, isPlain, type FormOptions } from './forms.js';
import { schemaInvalid } from './problems.js';

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
    case 'string':
    case 'boxstr':
      if (typeof json === 'string') return json;
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
      const isVariant = type.kind === 'enum' && type.variants.some(({ name }) => name === json);
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

/** Integers beyond 2^53 are strings in JSON, so that nobody rounds them. */
function number(json: unknown, kind: string, options: FormOptions, wrong: () => Error): unknown {
  const isInteger = /^[ui]/.test(kind);
  const isNumber =
    typeof json === 'number'
      ? !isInteger || Number.isInteger(json)
      : isInteger && typeof json === 'string' && /^-?\d+$/.test(json);
  if (!isNumber) throw wrong();
  const isBig = /^[ui]128$/.test(kind) || (/^[ui]64$/.test(kind) && options.u64 === 'bigint');
  return isBig ? BigInt(json as number | string) : Number(json);
}
