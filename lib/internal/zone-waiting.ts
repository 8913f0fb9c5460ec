/** Calls that this thread waits for while they run in another process. */

import { BusbarError, callNative, invalidArgument, show } from '../errors.js';
import type { NativeZone } from './binding.js';
import { isShared } from './zone-methods.js';

const TIMEOUT_MS = 5000;
/** Room for results: what is larger comes in memory of its own. */
const ROOM_BYTES = 16 * 1024;

/** One for each zone. */
export class WaitingCalls {
  readonly #native: NativeZone;
  #room: Uint8Array | null = null;

  constructor(native: NativeZone) {
    this.#native = native;
  }

  /** The result, in `out` if that is given. */
  call(
    method: number,
    input: Uint8Array,
    out: Uint8Array | undefined,
    timeoutMs: number = TIMEOUT_MS,
  ): Uint8Array {
    if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > 0xffff_ffff) {
      throw invalidArgument(`timeoutMs is ${show(timeoutMs)}; it must be a number of milliseconds`);
    }
    const own = isShared(input) ? Buffer.from(input) : input;
    if (out !== undefined && isShared(out)) {
      throw invalidArgument('out is shared memory; the result needs memory of its own');
    }
    const room = out ?? (this.#room ??= new Uint8Array(ROOM_BYTES));
    const result = callNative(() => this.#native.callWaiting(method, own, room, timeoutMs));
    if (typeof result === 'number') {
      const bytes = room.subarray(0, result);
      return out === undefined ? Buffer.from(bytes) : bytes;
    }
    if (out === undefined) return result;
    const message = `the result has ${result.length} bytes, and out has room for ${out.length}`;
    throw new BusbarError('ERR_BUFFER_TOO_SMALL', message);
  }
}
