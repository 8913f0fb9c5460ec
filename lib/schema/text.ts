/**
 * The canonical text of a type, v1: what its hash is a hash of. Docs, attributes, visibility,
 * defaults and aliases are left out on purpose; formats are in docs/formats.
 */

import {
  ABI,
  FORMAT,
  type FieldDescriptor,
  type KindDescriptor,
  type Shape,
  type TypeDescriptor,
} from './descriptor.js';

/** Answers with the hash of a mentioned type, as text; `undefined` leaves it out. */
export type Hashes = (name: string) => string | undefined;

/** The canonical text of a type whose layout is complete. */
export function canonicalText(name: string, type: TypeDescriptor, hashes: Hashes): string {
  const head = `abi${ABI};${FORMAT};${type.kind} ${name}(${type.size},${type.align})`;
  if (type.kind === 'struct') return head + spellFields(type.shape, type.fields, hashes);
  const variants = type.variants.map(
    (variant) =>
      `${variant.name}=${variant.tag}${spellFields(variant.shape, variant.fields, hashes)}`,
  );
  return `${head}{${variants.join(';')}}`;
}

function spellFields(shape: Shape, fields: readonly FieldDescriptor[], hashes: Hashes): string {
  if (shape === 'unit') return '';
  if (shape === 'tuple') return `(${fields.map((field) => spell(field, hashes)).join(';')})`;
  return `{${fields.map((field) => `${field.name}:${spell(field, hashes)}`).join(';')}}`;
}

/** A kind as texts spell it. */
export function spell(place: KindDescriptor, hashes: Hashes = () => undefined): string {
  switch (place.kind) {
    case 'unit':
      return '()';
    case 'string':
      return 'str';
    case 'vec':
      return `vec<${spell(place.elem, hashes)}>`;
    case 'boxslice':
      return `boxslice<${spell(place.elem, hashes)}>`;
    case 'box':
      return `box<${spell(place.elem, hashes)}>`;
    case 'option':
      return `opt<${spell(place.elem, hashes)}>`;
    case 'array':
      return `[${spell(place.elem, hashes)};${place.length}]`;
    case 'tuple':
      return `(${place.elems.map((elem) => spell(elem, hashes)).join(',')})`;
    case 'hashmap':
      return `map<${spell(place.key, hashes)},${spell(place.value, hashes)}>`;
    case 'btreemap':
      return `btree<${spell(place.key, hashes)},${spell(place.value, hashes)}>`;
    case 'type': {
      if (place.recursive === true) return `@${place.type}`;
      const hash = hashes(place.type);
      return hash === undefined ? place.type : `${place.type}#${hash}`;
    }
    default:
      return place.kind;
  }
}
