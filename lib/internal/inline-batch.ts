/**
 * Many calls of one method by one native call: arguments are written one behind the other into the
 * arena, as many as there is room for, and results are read where each was given its room.
 */

import { BusbarError, fromNative, invalidArgument, show } from '../errors.js';
import type { ArchiveCodec } from '../schema/codec.js';
import { enterPrepared, prepareRegion, region, type Region } from '../schema/region.js';
import { RECORD_WORDS, RECORDS, type InlineCalls } from './inline-calls.js';
import { NOTHING, type Signature } from './zone-methods.js';

/** A method that takes lists of arguments. */
export type BatchFunction = (calls: readonly (readonly unknown[])[]) => unknown[];

/**
 * Some calls of a batch failed; its code is that of the first. All were made, unless the plugin
 * panicked: then those after the panic have its error, too.
 */
export class BatchError extends BusbarError {
  /** Which call failed first. */
  readonly index: number;
  /** What each call returned; a {@link BusbarError} for each that failed. */
  readonly results: readonly unknown[];

  constructor(index: number, results: readonly unknown[]) {
    const first = results[index] as BusbarError;
    const failed = results.filter((result) => result instanceof BusbarError).length;
    const others = failed === 1 ? '' : ` (and ${failed - 1} more)`;
    super(first.code, `call ${index}${others}: ${first.message}`, { cause: first });
    this.index = index;
    this.results = results;
  }
}

Object.defineProperty(BatchError.prototype, 'name', {
  value: 'BatchError',
  configurable: true,
  writable: true,
});

/** Archives may need that; and records of the arena begin at its multiples. */
const ALIGN = 16;

/** The batch function of a method. Results whose type has no fixed size get `resultBytes` each. */
export function batchFunction(
  calls: InlineCalls,
  method: number,
  signature: Signature,
  resultBytes: number,
): BatchFunction {
  const room = Math.min(calls.room, aligned(fixedSize(signature.result) ?? resultBytes));
  const it: Batched = { calls, method, signature, room, views: [] };
  return (list) => {
    if (!Array.isArray(list) || !list.every((values) => Array.isArray(values))) {
      const message = `it takes an array of arrays of arguments, not ${show(list)}`;
      throw invalidArgument(`${signature.name}(): ${message}`);
    }
    const results: unknown[] = [];
    while (results.length < list.length) {
      const wrote = calls.isBusy ? [] : write(it, list, results.length);
      if (wrote.length > 0) run(it, wrote, results);
      else results.push(attempt(() => calls.apart(method, signature, list[results.length] ?? [])));
    }
    const first = results.findIndex((result) => result instanceof BusbarError);
    if (first >= 0) throw new BatchError(first, results);
    return results;
  };
}

interface Batched {
  readonly calls: InlineCalls;
  readonly method: number;
  readonly signature: Signature;
  /** Bytes for each result. */
  readonly room: number;
  /** Of the results of the last native call. */
  readonly views: Region[];
}

/** The lengths of the arguments from `start` on, written into the arena; as many as there fit. */
function write(
  { calls, signature, room }: Batched,
  list: readonly (readonly unknown[])[],
  start: number,
): number[] {
  const most = Math.min(RECORDS, list.length - start, Math.floor(calls.room / room));
  const lengths: number[] = [];
  let at = 0;
  calls.isBusy = true;
  try {
    while (lengths.length < most && at < calls.room) {
      const values = list[start + lengths.length] ?? [];
      const length = signature.encodeInto(values, calls.argument, at);
      lengths.push(length);
      at += aligned(length);
    }
  } catch {
    // Whatever it was, too long or wrong: it is the next to be called, apart, where it fails again.
  } finally {
    calls.isBusy = false;
  }
  return lengths;
}

/** Makes the calls whose arguments were written. */
function run(it: Batched, lengths: readonly number[], to: unknown[]): void {
  const { calls, method, signature, room } = it;
  const [records, start] = [calls.records(), to.length];
  let at = 0;
  for (let index = 0; index < lengths.length; index++) {
    const [word, length] = [index * RECORD_WORDS, lengths[index] as number];
    records[word] = method;
    records[word + 1] = at;
    records[word + 2] = length;
    records[word + 3] = calls.room + index * room;
    records[word + 4] = room;
    at += aligned(length);
  }
  const failed = attempt(() => calls.callBatch(lengths.length));
  if (failed instanceof BusbarError) {
    for (let index = 0; index < lengths.length; index++) to.push(failed);
    return;
  }
  for (let index = 0; index < lengths.length; index++) {
    const word = index * RECORD_WORDS;
    if (records[word + 6] !== 0) {
      to.push(NOTHING);
      continue;
    }
    const view = viewOf(it, index, records[word + 5] as number);
    if (region.bytes !== view.bytes) enterPrepared(region, view);
    try {
      to.push(signature.decode(view.bytes));
    } catch (error) {
      to.push(fromNative(error));
    }
  }
  for (const [index, code, message] of failed) to[start + index] = fromNative({ code, message });
}

/** Where a result is; the same view again, where it is as long as the one before. */
function viewOf({ calls, room, views }: Batched, index: number, length: number): Region {
  const known = views[index];
  if (known !== undefined && known.bytes.length === length) return known;
  const start = index * room;
  return (views[index] = prepareRegion(calls.result.subarray(start, start + length)));
}

function attempt<T>(work: () => T): T | BusbarError {
  try {
    return work();
  } catch (error) {
    return fromNative(error);
  }
}

/** The bytes of any value of a type that has nothing out of line. */
function fixedSize(codec: ArchiveCodec<unknown> | null): number | null {
  if (codec === null) return null;
  const { types, root } = codec.layout;
  const isFixed = !/"kind":"(string|boxstr|vec|boxslice|box|hashmap|btreemap)"/.test(
    JSON.stringify(types),
  );
  return isFixed ? (types[root]?.size ?? null) : null;
}

function aligned(bytes: number): number {
  return Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
}
