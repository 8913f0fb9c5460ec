/** Whether two sides mean the same type. */

import type { Codec } from '../typed.js';

/** What a type is known by. */
export type Announced = Pick<Codec<unknown, unknown>, 'name' | 'hash' | 'descriptor' | 'compare'>;

/**
 * Whether a type that was announced is that of a codec. Equal hashes do not say so: of types that
 * are mentioned in a circle, the hash has only the names.
 */
export function isSameType(
  announced: { readonly hash: bigint; readonly descriptor: string },
  codec: Announced,
): boolean {
  const { hash, descriptor } = announced;
  if (hash !== codec.hash) return false;
  if (descriptor === codec.descriptor || codec.compare === undefined) return true;
  try {
    return codec.compare(descriptor).reasons.length === 0;
  } catch {
    // The descriptor contradicts itself.
    return false;
  }
}
