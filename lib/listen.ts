/** Beginning to listen. */

import { AbortError, callNative } from './errors.js';
import { checkAddress } from './internal/arguments.js';
import { environmentPort } from './internal/environment.js';
import { ListenerCore } from './internal/listener-core.js';
import { Listener } from './listener.js';
import { listenSettings, type ListenOptions } from './options.js';

/**
 * Listens at `address`.
 *
 * @throws BusbarError (as a rejection) `ERR_ADDR_IN_USE`, `ERR_ADDR_NOT_AVAILABLE`,
 * `ERR_INVALID_ADDRESS`, `ERR_INVALID_ARGUMENT`, `ERR_NOT_SUPPORTED`, `ERR_PERMISSION_DENIED`,
 * `ERR_IO`, `ABORT_ERR` (none retryable), `ERR_OUT_OF_MEMORY`, `ERR_NOT_FOUND` (a folder of the
 * path is not there; both retryable)
 *
 * @example
 * ```ts
 * import { dial, listen } from 'busbar';
 *
 * await using listener = await listen('shm://listen-example');
 * const [server, client] = await Promise.all([listener.accept(), dial('shm://listen-example')]);
 * await client.send('hello');
 * console.log(String(await server.receive())); // hello
 * await client.close();
 * ```
 */
export async function listen(address: string, options?: ListenOptions): Promise<Listener> {
  return listenNow(address, options);
}

/** As {@link listen}, at once. */
export function listenNow(address: string, options: ListenOptions | undefined): Listener {
  checkAddress(address);
  const settings = listenSettings(options, address);
  if (settings.signal?.aborted === true) {
    throw new AbortError(`listening at ${address}`, settings.signal.reason);
  }
  const port = environmentPort();
  const handle = callNative(() => port.native.listen(address, settings.native));
  const { qos } = settings;
  if (qos !== null) callNative(() => port.native.shapeListener(handle, qos.native));
  const bound = callNative(() => port.native.listenerAddress(handle));
  return new Listener(new ListenerCore(port, handle, bound, settings));
}
