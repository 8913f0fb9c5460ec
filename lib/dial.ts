/** Connecting to a listener. */

import { callNative, type BusbarError } from './errors.js';
import { checkAddress } from './internal/arguments.js';
import { PipeCore } from './internal/core.js';
import { environmentPort } from './internal/environment.js';
import type { Port } from './internal/port.js';
import { checkWait } from './internal/wait.js';
import { dialSettings, type DialOptions, type DialSettings } from './options.js';
import { Pipe } from './pipe.js';

/**
 * Connects to whoever listens at `address`. With `retry` it waits for somebody to do so, with
 * `reconnect` the pipe outlives its connection.
 *
 * @throws BusbarError (as a rejection) `ERR_NOT_FOUND`, `ERR_CONNECTION_REFUSED`, `ERR_TIMED_OUT`
 * (all three retryable: the listener may not be up yet), `ERR_INVALID_ADDRESS`,
 * `ERR_INVALID_ARGUMENT`, `ERR_NOT_SUPPORTED`, `ERR_PERMISSION_DENIED`, `ERR_VERSION_MISMATCH`,
 * `ERR_OUT_OF_MEMORY` (retryable), `ERR_IO`, `ABORT_ERR`; at tls:// also `ERR_TLS_UNTRUSTED`,
 * `ERR_TLS_EXPIRED`, `ERR_TLS_WRONG_NAME`, `ERR_TLS_CERTIFICATE_REQUIRED`, `ERR_TLS_EXPECTED`,
 * `ERR_TLS_HANDSHAKE`
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
  checkWait(settings.wait, `dialing ${address}`);
  const port = environmentPort();
  const begin = performance.now();
  const handle = dialNative(port, address, settings);
  const core = new PipeCore(port, handle, address, settings, 'CONNECTING');
  const pipe = new Pipe(core);
  try {
    await core.connected(settings.wait);
  } catch (error) {
    // It was made by an event of the system: what users look for is who dialed.
    Error.captureStackTrace(error as BusbarError);
    throw error;
  }
  port.dials.record(performance.now() - begin);
  return pipe;
}

/** Begins to connect; gives the pipe's handle. */
export function dialNative(
  port: Port,
  address: string,
  { native, qos }: Pick<DialSettings, 'native' | 'qos'>,
): number {
  return callNative(() => {
    const handle = port.native.dial(address, native);
    if (qos !== null) port.native.shape(handle, qos.native);
    return handle;
  });
}
