/**
 * Values that take no bytes: units, and what is made of nothing else. The size of an archive bounds
 * the work of reading it, except for these, so a type may hold only so many of them.
 */

import type { KindDescriptor, TypeDescriptor } from './descriptor.js';
import { schemaInvalid } from './problems.js';
import { EMPTIES_MAX } from './region.js';

/** How many values without bytes lie in a user type itself; `of` answers for those it mentions. */
export function countEmpties(
  name: string,
  type: TypeDescriptor,
  of: (name: string) => number,
): number {
  const sum = (places: readonly KindDescriptor[]): number =>
    places.reduce((total, place) => total + inPlace(place, of), 0);
  const count =
    type.kind === 'struct'
      ? Math.max(sum(type.fields), type.fields.length === 0 ? 1 : 0)
      : Math.max(...type.variants.map(({ fields }) => sum(fields)));
  if (count <= EMPTIES_MAX) return count;
  throw schemaInvalid(name, `holds more than ${EMPTIES_MAX} values that take no bytes`);
}

function inPlace(place: KindDescriptor, of: (name: string) => number): number {
  switch (place.kind) {
    case 'unit':
      return 1;
    case 'option':
      return inPlace(place.elem, of);
    case 'array':
      // Of no elements, it is a value without bytes itself.
      return place.length === 0 ? 1 : place.length * inPlace(place.elem, of);
    case 'tuple':
      return place.elems.reduce((total, elem) => total + inPlace(elem, of), 0);
    case 'type':
      return of(place.type);
    default:
      return 0;
  }
}
