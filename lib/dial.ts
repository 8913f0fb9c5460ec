/** Connecting to a listener. */

import { setTimeout as sleep } from 'node:timers/promises';

import { BusbarError, callNative } from './errors.js';
import { checkAddress } from './internal/arguments.js';
import { PipeCore } from './internal/core.js';
import { environmentPort } from './internal/environment.js';
import { checkWait, type WaitOptions } from './internal/wait.js';
import { dialSettings, type DialOptions, type DialSettings } from './options.js';
import { Pipe } from './pipe.js';

/**
 * Connects to whoever listens at `address`. With `retry` it waits for somebody to do so.
 *
 * @throws BusbarError (as a rejection) `ERR_NOT_FOUND`, `ERR_CONNECTION_REFUSED`, `ERR_TIMED_OUT`
 * (all three retryable: the listener may not be up yet), `ERR_INVALID_ADDRESS`,
 * `ERR_INVALID_ARGUMENT`, `ERR_NOT_SUPPORTED`, `ERR_PERMISSION_DENIED`, `ERR_VERSION_MISMATCH`,
 * `ERR_OUT_OF_MEMORY` (retryable), `ERR_IO`, `ABORT_ERR`
 *
 * @example
 * ```ts
 * import { dial, listen } from 'busbar';
 *
 * await using listener = await listen('shm://dial-example');
 * await using pipe = await dial('shm://dial-example', { wait: 'low-latency', timeoutMs: 1000 });
 * console.log(pipe.state); // CONNECTED
 * ```
 */
export async function dial(address: string, options?: DialOptions): Promise<Pipe> {
  checkAddress(address);
  const settings = dialSettings(options, address);
  const { timeoutMs, signal } = settings.wait;
  const end = performance.now() + timeoutMs;
  const wait = { ...settings.wait };
  for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
    checkWait(wait, `dialing ${address}`);
    try {
      return await attempt(address, settings, wait);
    } catch (error) {
      const left = end - performance.now() - pauseMs;
      if (!settings.retry || !isNobodyThere(error) || left <= 0) throw error;
      wait.timeoutMs = left;
    }
    // An abort is reported by the check above. Several that wait should not come all at once.
    const pause = sleep(pauseMs * (0.5 + Math.random() / 2), undefined, signal && { signal });
    await pause.catch(() => {});
  }
}

async function attempt(address: string, settings: DialSettings, wait: WaitOptions): Promise<Pipe> {
  const port = environmentPort();
  const handle = callNative(() => port.native.dial(address, settings.native));
  const core = new PipeCore(port, handle, address, settings, 'CONNECTING');
  const pipe = new Pipe(core);
  await core.connected(wait);
  return pipe;
}

function isNobodyThere(error: unknown): boolean {
  if (!(error instanceof BusbarError)) return false;
  return error.code === 'ERR_NOT_FOUND' || error.code === 'ERR_CONNECTION_REFUSED';
}

const PAUSE_MS_MIN = 2;
const PAUSE_MS_MAX = 100;
