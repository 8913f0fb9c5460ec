// @ts-check
/**
 * What the two processes say to each other: two enums, one for each direction. A flight takes 16
 * bytes, always at the same offsets, so the aggregator reads fields where they lie and never builds
 * an object:
 *
 * | byte | size | field         | unit                                                    |
 * |-----:|-----:|---------------|---------------------------------------------------------|
 * |    0 |    1 | tag           | 0 for a flight; the enum writes it                      |
 * |    2 |    2 | `origin`      | airport of departure as a number (airports.js)          |
 * |    4 |    2 | `destination` | airport of arrival                                      |
 * |    8 |    4 | `departure`   | seconds since 1970-01-01T00:00 on the local clock       |
 * |   12 |    2 | `delay`       | minutes late on arrival, negative when early            |
 * |   14 |    2 | `distance`    | miles                                                   |
 */

import { compile } from 'busbar';

/** @typedef {import('./aggregate.js').Aggregate} Aggregate */

/**
 * @typedef {{
 *   origin: number, destination: number, departure: number, delay: number, distance: number,
 * }} Flight
 */

/**
 * From the process that replays. Times are nanoseconds of `process.hrtime.bigint()`, on Linux one
 * clock for all processes. A mark asks for an acknowledgement of everything before it.
 *
 * @typedef {{ kind: 'Flight', value: Flight }
 *   | { kind: 'Ping', value: { sent: bigint } }
 *   | { kind: 'Mark' }
 *   | { kind: 'End' }} Request
 */

/**
 * From the aggregator: to a ping, to a mark, and to the end.
 *
 * @typedef {{
 *   Pong: { sent: bigint, received: bigint },
 *   Ack: { flights: number },
 *   Result: { aggregate: Aggregate },
 * }} Replies
 */

/** @typedef {{ [K in keyof Replies]: { kind: K, value: Replies[K] } }[keyof Replies]} Reply */

const FORMAT = Object.freeze({ abi: 1, format: 'rkyv0.8/le/aligned/p32' });

/** @type {import('busbar').ArchiveCodec<Request>} */
export const requestCodec = compile({
  ...FORMAT,
  root: 'flights.Request',
  types: {
    'flights.Request': {
      kind: 'enum',
      tag: 'u8',
      variants: [
        {
          name: 'Flight',
          fields: [
            { name: 'origin', kind: 'u16' },
            { name: 'destination', kind: 'u16' },
            { name: 'departure', kind: 'u32' },
            { name: 'delay', kind: 'i16' },
            { name: 'distance', kind: 'u16' },
          ],
        },
        { name: 'Ping', fields: [{ name: 'sent', kind: 'u64' }] },
        { name: 'Mark', fields: [] },
        { name: 'End', fields: [] },
      ],
    },
  },
});

/** @param {string} name */
function grouping(name) {
  const value = /** @type {const} */ ({ kind: 'type', type: 'flights.Cell' });
  return /** @type {const} */ ({ name, kind: 'btreemap', key: { kind: 'string' }, value });
}

/** @type {import('busbar').ArchiveCodec<Reply>} */
export const replyCodec = compile({
  ...FORMAT,
  root: 'flights.Reply',
  types: {
    'flights.Cell': {
      kind: 'struct',
      fields: [
        { name: 'flights', kind: 'u32' },
        { name: 'sum', kind: 'i32' },
        { name: 'max', kind: 'i16' },
        { name: 'late', kind: 'u32' },
      ],
    },
    'flights.Aggregate': {
      kind: 'struct',
      fields: [
        { name: 'flights', kind: 'u32' },
        grouping('origin'),
        grouping('destination'),
        grouping('hour'),
        grouping('distance'),
      ],
    },
    'flights.Reply': {
      kind: 'enum',
      tag: 'u8',
      variants: [
        {
          name: 'Pong',
          fields: [
            { name: 'sent', kind: 'u64' },
            { name: 'received', kind: 'u64' },
          ],
        },
        { name: 'Ack', fields: [{ name: 'flights', kind: 'u32' }] },
        {
          name: 'Result',
          fields: [{ name: 'aggregate', kind: 'type', type: 'flights.Aggregate' }],
        },
      ],
    },
  },
});

/**
 * What a reply holds, if it is the one that is due.
 *
 * @template {keyof Replies} K
 * @param {Reply} reply
 * @param {K} kind
 */
export function expectReply(reply, kind) {
  if (reply.kind === kind) return /** @type {Replies[K]} */ (reply.value);
  throw new Error(`the aggregator answered ${reply.kind} where ${kind} was due`);
}
