// @ts-check
/**
 * The table of what is measured: cases, and in each the contenders that run interleaved. A case
 * is comparable within itself only: one kind of job, one message size, one placement.
 */

/**
 * @typedef {object} Contender
 * @property {string} name unique within a case
 * @property {import('./transport.js').TransportName} module
 * @property {string} transport what carries the bytes
 * @property {string | null} peer the library busbar is measured against; null = busbar itself
 * @property {string} grade how messages reach the receiving code
 * @property {Readonly<Record<string, string>>} options
 */

/**
 * @typedef {object} Case
 * @property {string} id `kind/size/where`
 * @property {'latency' | 'throughput' | 'handover'} kind
 * @property {number} size
 * @property {'processes' | 'thread' | 'worker'} topology
 * @property {'one-core' | 'two-cores'} placement
 * @property {boolean} load whether both loops serve other work meanwhile
 * @property {readonly Contender[]} contenders
 */

/** Message sizes of the throughput cases: 16 B to 16 MiB. */
export const SIZES = [16, 64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 16 << 20];

/** Larger messages do not lie in a batch's memory, so there is no offset to read them at. */
const INLINE_BYTES_MAX = 1024;

/** Payload sizes of the hand-over cases. */
export const HANDOVER_SIZES = [4 << 10, 64 << 10, 1 << 20, 16 << 20];

/**
 * @param {number} size
 * @returns {string} '64B', '4KiB', '1MiB'
 */
export function sizeName(size) {
  if (size >= 1 << 20) return `${size >> 20}MiB`;
  return size >= 1 << 10 ? `${size >> 10}KiB` : `${size}B`;
}

/**
 * @param {string} name
 * @param {string} receive receiving form: next | owned | borrowed | cursor | loan
 * @param {string} send sending form: send | try | batch | reserve
 * @param {string} [wait]
 * @returns {Contender}
 */
function busbar(name, receive, send, wait = 'balanced') {
  const [transport = ''] = name.split(' ');
  const options = { receive, send, wait };
  return {
    name: `busbar ${name}`,
    module: 'busbar',
    transport,
    peer: null,
    grade: receive === 'next' ? 'owned' : receive,
    options,
  };
}

/**
 * The cheapest grade that a message of this size can be read in.
 *
 * @param {number} size
 * @returns {Contender}
 */
function inPlace(size) {
  if (size > INLINE_BYTES_MAX) return busbar('inproc borrowed', 'borrowed', 'batch');
  return busbar('inproc cursor', 'cursor', 'batch');
}

/** @type {Contender} */
const UDS = {
  name: 'node:net uds',
  module: 'net',
  transport: 'uds',
  peer: 'node:net',
  grade: 'borrowed',
  options: { write: 'each' },
};

/** @type {Contender} */
const UDS_BATCHED = { ...UDS, name: 'node:net uds batched', options: { write: 'batched' } };

/** @type {Contender} */
const POST_MESSAGE = {
  name: 'postMessage',
  module: 'worker',
  transport: 'messagechannel',
  peer: 'worker_threads',
  grade: 'owned',
  options: {},
};

/** @type {Contender} */
const ZEROMQ_IPC = {
  name: 'zeromq.js ipc',
  module: 'zeromq',
  transport: 'ipc',
  peer: 'zeromq.js',
  grade: 'owned',
  options: {},
};

/** @type {Contender} */
const ZEROMQ_TCP = { ...ZEROMQ_IPC, name: 'zeromq.js tcp', transport: 'tcp' };

/** @type {Contender} */
const TCP = { ...UDS, name: 'node:net tcp', transport: 'tcp' };

/** @type {Contender} */
const TCP_BATCHED = { ...TCP, name: 'node:net tcp batched', options: { write: 'batched' } };

/** @type {Contender} */
const ZEROMQ_INPROC = { ...ZEROMQ_IPC, name: 'zeromq.js inproc', transport: 'inproc' };

/** @type {readonly Case[]} */
const LATENCY = [
  latency('latency/64B/one-core', 'processes', 'one-core', [
    busbar('shm park', 'next', 'try', 'park'),
    busbar('shm park cursor', 'cursor', 'try', 'park'),
    UDS,
    ZEROMQ_IPC,
  ]),
  latency('latency/64B/two-cores', 'processes', 'two-cores', [
    busbar('shm low-latency', 'next', 'try', 'low-latency'),
    busbar('shm low-latency cursor', 'cursor', 'try', 'low-latency'),
    busbar('shm balanced', 'next', 'try', 'balanced'),
    UDS,
    ZEROMQ_IPC,
  ]),
  latency(
    'latency/64B/two-cores-loaded',
    'processes',
    'two-cores',
    [
      busbar('shm low-latency', 'next', 'try', 'low-latency'),
      busbar('shm low-latency cursor', 'cursor', 'try', 'low-latency'),
      UDS,
      ZEROMQ_IPC,
    ],
    true,
  ),
  latency('latency/64B/one-thread', 'thread', 'one-core', [
    busbar('inproc', 'next', 'try'),
    busbar('inproc cursor', 'cursor', 'try'),
    POST_MESSAGE,
    ZEROMQ_INPROC,
  ]),
  latency('latency/64B/worker-one-core', 'worker', 'one-core', [
    busbar('inproc park', 'next', 'try', 'park'),
    POST_MESSAGE,
  ]),
  latency('latency/64B/worker-two-cores', 'worker', 'two-cores', [
    busbar('inproc low-latency', 'next', 'try', 'low-latency'),
    POST_MESSAGE,
  ]),
];

/** @type {readonly Case[]} */
const SEND = [
  oneWay('send/64B/processes', 64, 'processes', 'two-cores', [
    busbar('shm send', 'cursor', 'send'),
    busbar('shm trySend', 'cursor', 'try'),
    busbar('shm reserve', 'cursor', 'reserve'),
    busbar('shm sendBatch', 'cursor', 'batch'),
    ZEROMQ_IPC,
  ]),
];

/** @type {readonly Case[]} */
const THROUGHPUT = SIZES.flatMap((size) => [
  oneWay(`throughput/${sizeName(size)}/processes`, size, 'processes', 'two-cores', [
    busbar('shm owned', 'owned', 'batch'),
    busbar('shm borrowed', 'borrowed', 'batch'),
    ...(size <= INLINE_BYTES_MAX ? [busbar('shm cursor', 'cursor', 'batch')] : []),
    UDS,
    UDS_BATCHED,
    ZEROMQ_IPC,
  ]),
  oneWay(`throughput/${sizeName(size)}/one-thread`, size, 'thread', 'one-core', [
    busbar('inproc owned', 'owned', 'batch'),
    inPlace(size),
    POST_MESSAGE,
    ZEROMQ_INPROC,
  ]),
  oneWay(`throughput/${sizeName(size)}/worker`, size, 'worker', 'two-cores', [
    busbar('inproc owned', 'owned', 'batch'),
    inPlace(size),
    POST_MESSAGE,
  ]),
]);

/** @type {Contender} */
const TLS = { ...TCP, name: 'node:tls', transport: 'tls', peer: 'node:tls' };

/** @type {Contender} */
const TLS_BATCHED = { ...TLS, name: 'node:tls batched', options: { write: 'batched' } };

/** Message sizes of the network cases. */
const NETWORK_SIZES = [64, 1 << 10, 64 << 10, 1 << 20];

/** @type {readonly Case[]} */
const NETWORK = [
  latency('network/latency/64B/two-cores', 'processes', 'two-cores', [
    busbar('tcp', 'next', 'try'),
    busbar('tcp low-latency', 'next', 'try', 'low-latency'),
    busbar('uds', 'next', 'try'),
    busbar('uds low-latency', 'next', 'try', 'low-latency'),
    TCP,
    UDS,
    ZEROMQ_TCP,
    ZEROMQ_IPC,
  ]),
  latency('network/latency/64B/one-core', 'processes', 'one-core', [
    busbar('tcp', 'next', 'try', 'park'),
    busbar('uds', 'next', 'try', 'park'),
    TCP,
    UDS,
    ZEROMQ_TCP,
    ZEROMQ_IPC,
  ]),
  ...NETWORK_SIZES.map((size) =>
    oneWay(`network/throughput/${sizeName(size)}`, size, 'processes', 'two-cores', [
      busbar('tcp owned', 'owned', 'batch'),
      busbar('uds owned', 'owned', 'batch'),
      ...(size <= INLINE_BYTES_MAX
        ? [busbar('tcp cursor', 'cursor', 'batch'), busbar('uds cursor', 'cursor', 'batch')]
        : []),
      TCP,
      TCP_BATCHED,
      UDS_BATCHED,
      ZEROMQ_TCP,
      ZEROMQ_IPC,
    ]),
  ),
  latency('network/latency/64B/tls', 'processes', 'two-cores', [busbar('tls', 'next', 'try'), TLS]),
  ...NETWORK_SIZES.map((size) =>
    oneWay(`network/throughput/${sizeName(size)}/tls`, size, 'processes', 'two-cores', [
      busbar('tls owned', 'owned', 'batch'),
      TLS,
      TLS_BATCHED,
    ]),
  ),
];

/** @type {readonly Case[]} */
const HANDOVER = HANDOVER_SIZES.map((size) => ({
  id: `handover/${sizeName(size)}/two-cores`,
  kind: 'handover',
  size,
  topology: 'processes',
  placement: 'two-cores',
  load: false,
  contenders: [
    busbar('shm loan', 'loan', 'reserve', 'low-latency'),
    busbar('shm copied', 'next', 'try', 'low-latency'),
    UDS,
    ZEROMQ_IPC,
  ],
}));

/** Every case, in the order of a full run. */
export const CASES = [...LATENCY, ...HANDOVER, ...SEND, ...THROUGHPUT, ...NETWORK];

/**
 * @param {string} id
 * @param {Case['topology']} topology
 * @param {Case['placement']} placement
 * @param {readonly Contender[]} contenders
 * @param {boolean} [load]
 * @returns {Case}
 */
function latency(id, topology, placement, contenders, load = false) {
  return { id, kind: 'latency', size: 64, topology, placement, load, contenders };
}

/**
 * @param {string} id
 * @param {number} size
 * @param {Case['topology']} topology
 * @param {Case['placement']} placement
 * @param {readonly Contender[]} contenders
 * @returns {Case}
 */
function oneWay(id, size, topology, placement, contenders) {
  return { id, kind: 'throughput', size, topology, placement, load: false, contenders };
}
