/** Pipes between threads of one process, without waiting for a connection. */

import { dialNative } from './dial.js';
import { callNative, invalidArgument } from './errors.js';
import { checkAddress } from './internal/arguments.js';
import { PipeCore } from './internal/core.js';
import { environmentPort } from './internal/environment.js';
import { native } from './internal/native.js';
import { listenNow } from './listen.js';
import type { Listener } from './listener.js';
import { dialSettings, pipeSettings, type ListenOptions, type PipeOptions } from './options.js';
import { Pipe } from './pipe.js';

/**
 * Listens at `inproc://name`, at once. The namespace is that of the process: worker threads can
 * connect too.
 *
 * @throws BusbarError `ERR_ADDR_IN_USE`, `ERR_INVALID_ADDRESS`, `ERR_INVALID_ARGUMENT`, `ABORT_ERR`
 * (none retryable)
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc } from 'busbar';
 *
 * const listener = bindInproc('bind-example');
 * connectInproc('bind-example').send('hello');
 * const pipe = await listener.accept();
 * console.log(String(await pipe.receive())); // hello
 * await pipe.close();
 * await listener.close();
 * ```
 */
export function bindInproc(name: string, options?: ListenOptions): Listener {
  return listenNow(addressOf(name), options);
}

/**
 * Connects to whoever listens at `inproc://name`, at once: the pipe can be used when this returns.
 *
 * @throws BusbarError `ERR_NOT_FOUND` (retryable), `ERR_CONNECTION_REFUSED` (retryable: the backlog
 * is full), `ERR_INVALID_ADDRESS`, `ERR_INVALID_ARGUMENT`
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc } from 'busbar';
 *
 * const listener = bindInproc('connect-example');
 * const pipe = connectInproc('connect-example');
 * console.log(pipe.state); // CONNECTED
 * await pipe.close();
 * await listener.close();
 * ```
 */
export function connectInproc(name: string, options?: PipeOptions): Pipe {
  const address = addressOf(name);
  const settings = pipeSettings(options);
  const port = environmentPort();
  const combined = { ...dialSettings({}, address).native, ...settings.native };
  const handle = dialNative(port, address, { native: combined, qos: settings.qos });
  return new Pipe(new PipeCore(port, handle, address, settings, 'CONNECTED'));
}

/**
 * The names that are bound in this process, in order.
 *
 * @example
 * ```ts
 * import { bindInproc, listInprocEndpoints } from 'busbar';
 *
 * const listener = bindInproc('list-example');
 * console.log(listInprocEndpoints()); // [ 'list-example' ]
 * await listener.close();
 * ```
 */
export function listInprocEndpoints(): string[] {
  return callNative(() => native.listInprocEndpoints());
}

function addressOf(name: string): string {
  checkAddress(name);
  if (name.startsWith(PREFIX)) return name;
  if (name.includes('://')) {
    throw invalidArgument(`${JSON.stringify(name)} is not a name; use listen() or dial() instead`);
  }
  return PREFIX + name;
}

const PREFIX = 'inproc://';
