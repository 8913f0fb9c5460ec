// @ts-check
/**
 * protobuf.js with code that it generates at run time. 64-bit integers are numbers, as it has them
 * where long.js is absent: several times faster than its Long objects.
 */
import { fileURLToPath } from 'node:url';

import protobuf from 'protobufjs';

import { NUMBERS } from '../payloads.js';

/** @type {import('../codec.js').Setup} */
export function setup(payload) {
  /** @type {any} */ (protobuf.util).Long = undefined;
  protobuf.configure();
  const type = protobuf.loadSync(SCHEMA).lookupType(MESSAGES[payload] ?? payload);
  return {
    forms: NUMBERS,
    encode: (value) => type.encode(value).finish(),
    decode: (message) => type.decode(message),
  };
}

const SCHEMA = fileURLToPath(new URL('../schemas/payloads.proto', import.meta.url));

/** @type {Record<string, string>} */
const MESSAGES = {
  position: 'bench.Position',
  order: 'bench.Order',
  snapshot: 'bench.Snapshot',
  blob: 'bench.Blob',
};
