/**
 * Memory outside of JavaScript's heap, which must not outlive the environment that got it: when a
 * worker ends, Node frees what its buffers stand on, also where `transfer()` has moved that to
 * another thread meanwhile. Posting such a buffer is refused by Node; transferring it first, here.
 */

import { BusbarError } from '../errors.js';

/** Keeps `memory` from being transferred; what it holds can be copied. */
export function confine(memory: ArrayBuffer): ArrayBuffer {
  return CAN_TRANSFER ? Object.defineProperties(memory, REFUSALS) : memory;
}

/** Node 20 has no way to do it. */
const CAN_TRANSFER = 'transfer' in ArrayBuffer.prototype;

const REFUSAL: PropertyDescriptor = { value: refuse };
const REFUSALS: PropertyDescriptorMap = { transfer: REFUSAL, transferToFixedLength: REFUSAL };

function refuse(): never {
  const message = 'the memory of a message stays with the thread that received or reserved it';
  throw new BusbarError('ERR_NOT_SUPPORTED', `${message}; copy it, with slice() for example`);
}
