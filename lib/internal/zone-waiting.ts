/** Calls that this thread waits for while they run in another process. */

import { BusbarError, fromNative, invalidArgument, show } from '../errors.js';
import type { NativeWait, NativeZone } from './binding.js';
import { isShared, NOTHING } from './zone-methods.js';

const TIMEOUT_MS = 5000;
/** Room for results: what is larger comes in memory of its own. */
const ROOM_BYTES = 16 * 1024;

/** One for each zone. */
export class WaitingCalls {
  readonly #native: NativeZone;
  #wait: NativeWait | null = null;
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
    const wait = (this.#wait ??= this.#native.waiter());
    let result: number | Buffer;
    try {
      result = wait(method, own, room, timeoutMs);
    } catch (error) {
      throw fromNative(error);
    }
    if (typeof result === 'number') {
      if (out === undefined) return result === 0 ? NOTHING : Buffer.from(room.subarray(0, result));
      return result === out.length ? out : out.subarray(0, result);
    }
    if (out === undefined) return result;
    const message = `the result has ${result.length} bytes, and out has room for ${out.length}`;
    throw new BusbarError('ERR_BUFFER_TOO_SMALL', message);
  }
}
