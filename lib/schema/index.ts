/**
 * What files written by `busbar gen` import: the module `busbar/schema`. It needs no native addon.
 * Apart from the types of cursors, nothing here is meant for use by hand.
 */

export { defineCodec, planLater, type ArchiveCodec } from './codec.js';
export * from './runtime.js';
