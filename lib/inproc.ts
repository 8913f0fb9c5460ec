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

/** What has passed in one direction. */
export interface InprocTraffic {
  /** Messages accepted for sending. */
  readonly messagesSent: number;
  /** Payload bytes of those. */
  readonly bytesSent: number;
  /** Of those, messages that were received. */
  readonly messagesReceived: number;
  /** Messages that nobody had received when their connection was closed. */
  readonly messagesDropped: number;
  /** Messages that wait to be received. */
  readonly messagesQueued: number;
  /** Payload bytes of those. */
  readonly bytesQueued: number;
}

/** An inproc name, and the traffic of all connections made through it since it was bound. */
export interface InprocStats {
  /** Connections of which at least one end is open. */
  readonly connections: number;
  /** Of those, connections that wait to be accepted. */
  readonly pending: number;
  /** From those who connected to the one who listens. */
  readonly fromClients: InprocTraffic;
  /** The other way. */
  readonly toClients: InprocTraffic;
}

/**
 * What has passed through a name that is bound in this process, by whichever thread; `name` may be
 * the address, `inproc://name`, too.
 *
 * @throws BusbarError `ERR_NOT_FOUND` (retryable) if nobody has bound the name,
 * `ERR_INVALID_ADDRESS`, `ERR_INVALID_ARGUMENT`
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc, inprocStats } from 'busbar';
 *
 * const listener = bindInproc('stats-example');
 * const pipe = connectInproc('stats-example');
 * await pipe.send('one');
 * console.log(inprocStats('stats-example').fromClients.messagesQueued); // 1
 * await pipe.close();
 * await listener.close();
 * ```
 */
export function inprocStats(name: string): InprocStats {
  addressOf(name);
  const [connections = 0, pending = 0, ...lanes] = callNative(() => native.inprocStats(name));
  const traffic = (from: number): InprocTraffic => {
    const [messagesSent = 0, bytesSent = 0, messagesReceived = 0, messagesDropped = 0] =
      lanes.slice(from);
    const [messagesQueued = 0, bytesQueued = 0] = lanes.slice(from + 4);
    return {
      messagesSent,
      bytesSent,
      messagesReceived,
      messagesDropped,
      messagesQueued,
      bytesQueued,
    };
  };
  return { connections, pending, fromClients: traffic(0), toClients: traffic(6) };
}
