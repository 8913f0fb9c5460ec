// @ts-check
/**
 * What the typed cases send: four payloads, each a row of different values so that nothing is
 * constant, and what a reader does with one that it has decoded. A codec asks for the values in
 * the form that it is fastest with: 64-bit integers as numbers or bigints, enums as numbers or
 * names. All numbers are exact in each form, so that every codec must give back what it got.
 */

/**
 * @typedef {object} Forms how a codec wants what JavaScript has several forms of
 * @property {(value: number) => unknown} u64
 * @property {(index: number) => unknown} side
 * @property {(text: string | null) => unknown} note
 */

/**
 * @typedef {object} Payload
 * @property {number} count how many different values there are
 * @property {number} bytesMax room that each codec can encode a value in
 * @property {(index: number, forms: Forms) => any} value
 * @property {(wanted: any) => (decoded: any) => number} pick reads two fields of what was decoded
 */

/** @type {Forms} */
export const NUMBERS = { u64: (value) => value, side: (index) => index, note: (text) => text };

/** @type {Forms} */
export const NAMES = { ...NUMBERS, side: (index) => (index === 0 ? 'Buy' : 'Sell') };

/** @type {Forms} */
export const BIGINTS = { ...NUMBERS, u64: BigInt };

/** @type {Record<string, Payload>} */
export const PAYLOADS = {
  position: {
    count: 64,
    bytesMax: 4 << 10,
    value: position,
    pick: (wanted) => (decoded) => (decoded.id === wanted.id ? 1 : 0) + decoded.pos[0],
  },
  order: {
    count: 64,
    bytesMax: 4 << 10,
    value: (index, { u64, side, note }) => ({
      id: u64(ID + 7 * index),
      symbol: SYMBOLS[index % SYMBOLS.length],
      side: side(index & 1),
      price: 60_000 + index * 12.25,
      qty: 0.5 + index / 8,
      tags: TAGS.slice(0, index % 4),
      note: note(index % 2 === 0 ? `note for order ${ID + index}` : null),
    }),
    pick: (wanted) => (decoded) => (decoded.symbol === wanted.symbol ? 1 : 0) + decoded.price,
  },
  snapshot: {
    count: 4,
    bytesMax: 1 << 20,
    value: (index, forms) => ({
      entities: Array.from({ length: ENTITIES }, (_, entity) => ({
        position: position(index * ENTITIES + entity, forms),
        name: `entity-${String(entity).padStart(5, '0')}`,
      })),
    }),
    pick:
      () =>
      ({ entities }) => {
        let sum = 0;
        for (let index = 0; index < entities.length; index++) {
          const { position: at } = entities[index];
          sum += at.pos[0] + at.flags;
        }
        return sum;
      },
  },
  blob: {
    count: 16,
    bytesMax: 64 << 10,
    value: (index, { u64 }) => ({
      header: { id: u64(ID + index), kind: index },
      bytes: Uint8Array.from({ length: 4096 }, (_, at) => (at * 31 + index) & 255),
    }),
    pick: (wanted) => (decoded) =>
      (decoded.header.id === wanted.header.id ? 1 : 0) + decoded.bytes[7],
  },
};

/** How many entities a snapshot has. */
export const ENTITIES = 1000;

/** More than 32 bits, and a safe integer. */
const ID = 7_000_000_000_001;

const SYMBOLS = ['BTC-USDT', 'ETH-USDT', 'SOL', 'EURUSD', 'BRK.B', 'BTC-27MAR26', 'AAPL', 'XAU'];
const TAGS = ['algo', 'ioc', 'desk7', 'eu'];

/**
 * All values of a payload.
 *
 * @param {Payload} payload
 * @param {Forms} forms
 * @returns {any[]}
 */
export function valuesOf(payload, forms) {
  return Array.from({ length: payload.count }, (_, index) => payload.value(index, forms));
}

/**
 * A value in the one form that all codecs' values are compared in: numbers, lists, `null` for what
 * is absent, and the fields of `like`, since some libraries have defaults in prototypes.
 *
 * @param {any} value
 * @param {any} like
 * @returns {unknown}
 */
export function plain(value, like) {
  if (typeof value === 'bigint') return Number(value);
  if (value === undefined) return null;
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const elements = Array.from(/** @type {ArrayLike<any>} */ (value));
    return elements.map((element, index) => plain(element, like?.[index]));
  }
  return Object.fromEntries(
    Object.keys(like ?? value).map((name) => [name, plain(value[name], like?.[name])]),
  );
}

/**
 * @param {number} index
 * @param {Forms} forms
 */
function position(index, { u64 }) {
  return {
    id: u64(ID + index),
    pos: [index + 0.5, 1.25 - index, -3.5],
    vel: [index / 64, -0.25, 9.75],
    flags: index & 255,
    ts: u64(1_790_000_000_000_000 + 1000 * index),
  };
}
