/** Large payloads of the batch that was just received: copied out, or kept on loan. */

import { errorOf } from '../errors.js';
import { OWNED } from './binding.js';
import { CHUNK_BYTES, FastBuffer, SLICE_MAX } from './chunk.js';
import { confine } from './confined.js';
import { LoanView } from './loan.js';
import type { Port } from './port.js';

/** A leased payload as memory of our own: copied, or taken over where nobody has use for it. */
export function copyLarge(port: Port, index: number, length: number, meta: number): Buffer {
  if ((meta & OWNED) !== 0 && length > CHUNK_BYTES) {
    const memory = port.native.lease(index);
    if (typeof memory !== 'number') return new FastBuffer(confine(memory), 0, length);
  }
  return copyInto(port.chunk.allocate(length), port, index);
}

/** The payload in place, until its loan is released. */
export function lendLarge(port: Port, index: number, length: number, channel: number): LoanView {
  const memory = port.native.lease(index);
  if (typeof memory === 'number') throw errorOf(memory, 'borrowing a large message');
  const id = port.native.lastId();
  return new LoanView(new FastBuffer(confine(memory), 0, length), channel, port.native, id);
}

/** The cheaper of the two for a short use: mapping memory costs as much as copying this much. */
export function viewLarge(port: Port, index: number, length: number, channel: number): LoanView {
  if (length > SLICE_MAX) return lendLarge(port, index, length, channel);
  // Not from the port's chunk, where a receive() under way may have its own batch.
  const copy = copyInto(Buffer.allocUnsafeSlow(length), port, index);
  return new LoanView(copy, channel, null, 0);
}

function copyInto(target: Buffer, port: Port, index: number): Buffer {
  const result = port.native.copyLease(index, target);
  if (result < 0) throw errorOf(result, 'receiving a large message');
  return target;
}
