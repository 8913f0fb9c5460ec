/** What generated code calls, whether it was generated at run time or written to a file. */

export * as keys from './keys.js';
export {
  checkLength,
  copyBytes,
  fixBox,
  fixList,
  lengthOf,
  putBytes,
  readBytes,
  viewBytes,
  writeBlob,
  zero,
} from './lists.js';
export { fixMap, mapOps, type MapRules } from './maps.js';
export {
  bad,
  checkF32,
  checkF32s,
  isSome,
  readChar,
  readHuge,
  readI64,
  readU64,
  wrapped,
  writeBig,
  writeChar,
  writeHuge,
  writeI64,
  writeU64,
} from './numbers.js';
export { BufferTooSmallError, SchemaError, unknownVariant } from './problems.js';
export {
  checkEmpties,
  claim,
  enter,
  enterArchive,
  enterWords,
  gaveAway,
  region,
  target,
  unreadable,
  words,
} from './region.js';
export { freeSink, type Sink } from './sink.js';
export {
  fixString,
  putBoxStr,
  putString,
  readBoxStr,
  readShared,
  readString,
  viewBoxStr,
  viewShared,
  viewString,
} from './strings.js';
export {
  hide,
  limit,
  ListCursor,
  MapCursor,
  noElement,
  rootOf,
  ShownCursor,
  UNCLONED,
} from './views.js';
export { sizeOf, unwritten, writeInto, writeNew } from './writing.js';
