// @ts-check
/**
 * bebop with the code of bebopc. 64-bit integers are bigints, it has no other form. Decoding calls
 * `readFrom` rather than `decode`, which copies and freezes what `readFrom` made.
 */
import { BebopView } from 'bebop';

import { Blob, Order, Position, Snapshot } from '../generated/bebop.js';
import { BIGINTS } from '../payloads.js';

/** @type {Record<string, any>} */
const RECORDS = { position: Position, order: Order, snapshot: Snapshot, blob: Blob };

/** @type {import('../codec.js').Setup} */
export function setup(payload) {
  const record = RECORDS[payload];
  const view = BebopView.getInstance();
  return {
    // An absent field is undefined.
    forms: { ...BIGINTS, note: (text) => text ?? undefined },
    // What `encode` gives is overwritten by the next one.
    encode: (value) => record.encode(value).slice(),
    encodeInto: (value) => {
      view.startWriting();
      record.encodeInto(value, view);
      return view.length;
    },
    written: () => view.toArray(),
    decode: (message) => {
      view.startReading(message);
      return record.readFrom(view);
    },
  };
}
