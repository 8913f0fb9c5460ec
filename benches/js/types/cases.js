// @ts-check
/**
 * The table of typed cases: what is done with which payload, by which codecs, and whether each of
 * them has a process of its own (`standalone`) or all share one (`mixed`), where code that a
 * library uses for all types and values has seen them all.
 */

/** @typedef {import('./codec.js').Operation} Operation */

/**
 * @typedef {object} Contender a codec
 * @property {string} name unique within a case
 * @property {string} module in peers/
 * @property {string | null} peer the library busbar is measured against; null = busbar itself
 * @property {readonly Operation[]} operations
 * @property {readonly string[]} payloads
 * @property {import('./codec.js').Options} options
 */

/**
 * @typedef {object} TypedCase
 * @property {string} id `types/payload/operation/mode`
 * @property {'typed'} kind
 * @property {string} payload
 * @property {Operation} operation
 * @property {'mixed' | 'standalone'} mode
 * @property {readonly Contender[]} contenders
 */

const PAYLOADS = ['position', 'order', 'snapshot', 'blob'];

/** @type {readonly Operation[]} */
const OPERATIONS = ['encode', 'encode-into', 'decode', 'read'];

/** What those do that have no way to write into memory that is there. */
const INTO_NEW = OPERATIONS.filter((operation) => operation !== 'encode-into');

/** @type {readonly Contender[]} */
export const CODECS = [
  codec('busbar'),
  codec('busbar own buffers', ['read'], PAYLOADS, { place: 'own' }),
  codec('busbar interned', ['decode', 'read'], ['order'], { intern: true }),
  codec('busbar resolved', ['read'], ['position', 'order'], { resolves: true }),
  codec('bebop'),
  codec('avsc'),
  codec('msgpackr'),
  codec('msgpackr shared', OPERATIONS, PAYLOADS, { shared: true }),
  codec('protobufjs', INTO_NEW),
  codec('protobuf-es', INTO_NEW),
  codec('flatbuffers'),
  codec('flatbuffers own buffers', ['read'], PAYLOADS, { place: 'own' }),
  codec('cbor-x'),
  codec('json'),
];

/** @type {readonly TypedCase[]} */
export const TYPED_CASES = PAYLOADS.flatMap((payload) =>
  OPERATIONS.flatMap((operation) =>
    /** @type {const} */ (['mixed', 'standalone']).map((mode) => ({
      id: `types/${payload}/${operation}/${mode}`,
      kind: /** @type {const} */ ('typed'),
      payload,
      operation,
      mode,
      contenders: CODECS.filter(
        ({ operations, payloads }) => operations.includes(operation) && payloads.includes(payload),
      ),
    })),
  ),
);

/**
 * @param {string} name begins with the module's
 * @param {readonly Operation[]} [operations]
 * @param {readonly string[]} [payloads]
 * @param {import('./codec.js').Options} [options]
 * @returns {Contender}
 */
function codec(name, operations = OPERATIONS, payloads = PAYLOADS, options = {}) {
  const [module = name] = name.split(' ');
  const peer = module === 'busbar' ? null : module;
  return { name, module, peer, operations, payloads, options };
}
