// @ts-check
/**
 * The interface that every transport under test implements, and the table of implementations.
 *
 * Two ends meet at an address: one calls `serve`, the other `connect`. Then each is given one half
 * of a job: echo/ping (round trips), sink/pump (one way) or take/offer (hand-over: one message at
 * a time, timed from the producer's stamp to the consumer's hands).
 */

/**
 * @typedef {object} Setup
 * @property {string} address a socket path, host:port, or a name where the transport stays in this
 *   process
 * @property {string} transport what carries the bytes
 * @property {number} size bytes of one message
 * @property {Readonly<Record<string, string>>} options the contender's, see cases.js
 * @property {'latency' | 'throughput' | 'handover'} kind
 * @property {import('node:worker_threads').MessagePort | undefined} port one end of a
 *   MessageChannel, where both ends share a process
 * @property {Secrets | null} secrets where transport is tls
 */

/**
 * @typedef {object} Secrets paths of PEM files
 * @property {string} cert signed by itself, for this machine
 * @property {string} key
 */

/**
 * @typedef {object} Counters how often an end slept, and woke its peer, since it was opened
 * @property {number} parks
 * @property {number} bells
 * @property {number} wakes
 */

/**
 * @typedef {object} End
 * @property {(n: number) => Promise<void>} echo sends `n` messages back as they come
 * @property {(n: number, samples: Float64Array) => Promise<void>} ping `n` round trips; ns each
 * @property {(n: number) => Promise<void>} sink receives `n` messages
 * @property {(n: number) => Promise<void>} pump sends `n` messages as fast as the peer takes them
 * @property {(n: number, samples: Float64Array) => Promise<void>} take receives `n` stamped
 *   messages, one acknowledged before the next is sent; ns from stamp to hands
 * @property {(n: number) => Promise<void>} offer the other half of `take`
 * @property {() => Counters | null} counters null where the transport does not count
 * @property {() => Promise<void>} close
 */

/**
 * @typedef {object} Server
 * @property {() => Promise<End>} accepted the end that talks to the one peer that connects
 */

/**
 * @typedef {object} Transport
 * @property {(setup: Setup) => Promise<Server>} serve
 * @property {(setup: Setup) => Promise<End>} connect
 */

/** @typedef {'busbar' | 'net' | 'worker' | 'zeromq'} TransportName */

/**
 * Loads an implementation, and with it the library it drives. No other one is loaded, so that a
 * process under measurement holds nothing but its own subject.
 *
 * @param {TransportName} name
 * @returns {Promise<Transport>}
 */
export function loadTransport(name) {
  return LOADERS[name]();
}

/** @type {Record<TransportName, () => Promise<Transport>>} */
const LOADERS = {
  busbar: () => import('./transports/busbar.js'),
  net: () => import('./transports/net.js'),
  worker: () => import('./transports/worker.js'),
  zeromq: () => import('./transports/zeromq.js'),
};
