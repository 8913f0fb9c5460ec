/**
 * Calls on this thread, through an arena that the plugin reads from and writes to: the first half
 * is the argument's, the second the result's. Everything about a method that stays the same is done
 * when it is bound; where the process allows it, by code of its own, so that the engine knows which
 * native function it calls and what is written.
 */

import { fromNative } from '../errors.js';
import { canGenerate, runCode } from '../schema/generate.js';
import { BufferTooSmallError } from '../schema/problems.js';
import { enterPrepared, prepareRegion, region, written, type Region } from '../schema/region.js';
import type { NativeInline, NativeZone } from './binding.js';
import { bytesOf, checkCount, isShared, NOTHING, type Signature } from './zone-methods.js';

/** A method as a function of values. */
export type ValueFunction = (...values: unknown[]) => unknown;

/** A method of bytes that was looked up. */
export interface BoundBytes {
  /** Calls with the first bytes of the arena; how many bytes the result has there. */
  run(length: number): number;
  /** Calls with bytes; how many bytes of `out` the result takes. */
  call(input: Uint8Array, out: Uint8Array): number;
}

/** Up to this many bytes are copied to the arena: asking the engine where bytes are costs more. */
const COPIED_BYTES_MAX = 1024;
/** Registers that the native side knows; see `NativeInline`. */
const REGISTERS = 3;
/** Calls of a batch that go together, and the words that each takes. */
export const RECORDS = 256;
export const RECORD_WORDS = 8;

export class InlineCalls {
  /** Where arguments are written. */
  readonly argument: Uint8Array;
  /** Where results are. */
  readonly result: Uint8Array;
  /** What there is to know about the two for writing and reading values. */
  readonly argumentRegion: Region;
  readonly resultRegion: Region;
  readonly registers: Uint32Array = new Uint32Array(REGISTERS);
  readonly room: number;
  /** While the arena is in use: writing an argument may call getters, and those this plugin. */
  isBusy = false;
  readonly #native: NativeInline;
  readonly #functions = new Map<number, () => void>();
  readonly #bytes = new Map<number, BoundBytes>();
  #records: Uint32Array | null = null;

  constructor(zone: NativeZone, room: number) {
    this.#native = zone.inline(this.registers, room);
    const { arena } = this.#native;
    this.argument = new Uint8Array(arena, 0, room);
    this.result = new Uint8Array(arena, room, room);
    this.argumentRegion = prepareRegion(this.argument);
    this.resultRegion = prepareRegion(this.result);
    this.room = room;
  }

  /** A method as a function of values. */
  function(method: number, signature: Signature): ValueFunction {
    const native = this.#bind(method);
    if (!canGenerate()) return this.#interpreted(method, native, signature);
    return generated(this, native, signature, (values) => this.apart(method, signature, values));
  }

  /** A method of bytes. */
  bytes(method: number): BoundBytes {
    const known = this.#bytes.get(method);
    if (known !== undefined) return known;
    const native = this.#bind(method);
    const make = canGenerate() ? (runCode(BOUND_BYTES) as typeof boundBytes) : boundBytes;
    const large = (input: Uint8Array, out: Uint8Array): number => this.#large(method, input, out);
    const bound = make(this, native, large, COPIED_BYTES_MAX, fromNative);
    this.#bytes.set(method, bound);
    return bound;
  }

  /** Room for the records of a batch; filled for {@link callBatch}. */
  records(): Uint32Array {
    return (this.#records ??= new Uint32Array(RECORDS * RECORD_WORDS));
  }

  /** Makes the first `count` calls of the records; those that failed. */
  callBatch(count: number): readonly [index: number, code: string, message: string][] {
    const { buffer } = this.records();
    const bytes = new Uint8Array(buffer, 0, count * RECORD_WORDS * 4);
    this.isBusy = true;
    try {
      return this.#native.callBatch(bytes) ?? [];
    } catch (error) {
      throw fromNative(error);
    } finally {
      this.isBusy = false;
    }
  }

  /** Calls with values whose bytes have no room in the arena, or must not be written there now. */
  apart(method: number, signature: Signature, values: readonly unknown[]): unknown {
    const out = Buffer.allocUnsafe(this.room);
    const length = this.#large(method, signature.encode(values), out);
    return signature.decode(out.subarray(0, length));
  }

  #bind(method: number): () => void {
    const known = this.#functions.get(method);
    if (known !== undefined) return known;
    try {
      const bound = this.#native.bind(method);
      this.#functions.set(method, bound);
      return bound;
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Borrows the memory of both. */
  #large(method: number, input: Uint8Array, out: Uint8Array): number {
    // Another thread could change what the plugin has checked, while it reads it.
    const own = isShared(input) ? Buffer.from(input) : input;
    if (isShared(out)) {
      const room = Buffer.allocUnsafe(out.length);
      const length = this.#large(method, own, room);
      out.set(room.subarray(0, length));
      return length;
    }
    try {
      return this.#native.callBytes(method, own, out);
    } catch (error) {
      throw fromNative(error);
    }
  }

  #interpreted(method: number, native: () => void, signature: Signature): ValueFunction {
    const { registers, argument, room, result } = this;
    let view = result.subarray(0, 0);
    return (...values) => {
      if (this.isBusy) return this.apart(method, signature, values);
      this.isBusy = true;
      try {
        registers[0] = signature.encodeInto(values, argument, 0);
        registers[1] = room;
        native();
      } catch (error) {
        if (error instanceof BufferTooSmallError) return this.apart(method, signature, values);
        throw fromNative(error);
      } finally {
        this.isBusy = false;
      }
      const length = registers[2] as number;
      if (view.length !== length) view = result.subarray(0, length);
      return signature.decode(view);
    };
  }
}

/**
 * The functions of a method of bytes. This is run as code of its own for each method, so it may use
 * nothing from around it.
 */
function boundBytes(
  calls: InlineCalls,
  native: () => void,
  large: (input: Uint8Array, out: Uint8Array) => number,
  copiedMax: number,
  errorOf: (thrown: unknown) => Error,
): BoundBytes {
  const { registers, argument, result, room } = calls;
  let view = result.subarray(0, 0);
  function run(length: number, outRoom: number): number {
    calls.isBusy = true;
    registers[0] = length;
    registers[1] = outRoom;
    try {
      native();
    } catch (error) {
      throw errorOf(error);
    } finally {
      calls.isBusy = false;
    }
    return registers[2] as number;
  }
  return {
    run: (length) => {
      if (length >>> 0 !== length || length > room) {
        throw new RangeError(`length is ${length}; it must be an integer from 0 to ${room}`);
      }
      if (calls.isBusy) throw errorOf({ code: 'ERR_IN_USE', message: 'the arena is in use' });
      return run(length, room);
    },
    call: (input, out) => {
      const [length, outRoom] = [input.length, out.length];
      const isSmall = length <= copiedMax && length <= room && outRoom <= copiedMax;
      if (!isSmall || outRoom > room || input === out || calls.isBusy) return large(input, out);
      argument.set(input);
      const taken = run(length, outRoom);
      if (taken === 0) return 0;
      if (taken !== view.length) view = result.subarray(0, taken);
      out.set(view);
      return taken;
    },
  };
}

const BOUND_BYTES = `return ${boundBytes.toString()}`;

/** The function of a method with types, as code of its own. */
function generated(
  calls: InlineCalls,
  native: () => void,
  signature: Signature,
  apart: (values: readonly unknown[]) => unknown,
): ValueFunction {
  const { name, argument, fields, result, isWrapped } = signature;
  const count = argument === null ? null : (fields?.length ?? 1);
  const names = Array.from({ length: count ?? 1 }, (_, index) => `a${index}`);
  const values = count === null ? 'arguments.length === 0 ? [] : [a0]' : `[${names.join(', ')}]`;
  const properties = fields?.map((field, index) => {
    // In brackets it is a property like any other.
    const key = JSON.stringify(field);
    return `${field === '__proto__' ? `[${key}]` : key}: a${index}`;
  });
  const value = properties === undefined ? 'a0' : `{ ${properties.join(', ')} }`;
  const write =
    count === null
      ? 'arguments.length === 0 ? 0 : put(a0, arguments.length)'
      : `encodeInto(${value}, argument, 0)`;
  const text = `
    'use strict';
    const { argument, argumentRegion, registers, result, resultRegion, room } = calls;
    let view = result.subarray(0, 0), prepared = resultRegion;
    function setView(length) {
      view = result.subarray(0, length);
      prepared = { ...resultRegion, bytes: view };
    }
    return { [name](${names.join(', ')}) {
      ${count === null ? '' : `if (arguments.length !== ${count}) wrong(arguments.length);`}
      if (calls.isBusy) return apart(${values});
      calls.isBusy = true;
      try {
        ${count === null ? '' : ENTER_ARGUMENT}
        registers[0] = ${write};
        registers[1] = room;
        native();
      } catch (error) {
        if (error instanceof BufferTooSmallError) return apart(${values});
        throw fromNative(error);
      } finally {
        calls.isBusy = false;
      }
      const length = registers[2];
      ${result === null ? 'if (length === 0) return NOTHING;' : ''}
      if (length !== view.length) setView(length);
      ${result === null ? 'return Buffer.from(view);' : ENTER_RESULT}
      ${result === null ? '' : `return decode(view)${isWrapped ? '[0]' : ''};`}
    } }[name];`;
  return runCode(text, {
    calls,
    native,
    apart,
    name,
    fromNative,
    BufferTooSmallError,
    NOTHING,
    region,
    written,
    enterPrepared,
    encodeInto: argument?.encodeInto,
    decode: result?.decode,
    put: (bytes: unknown, given: number) => putBytes(calls, name, bytes, given),
    wrong: (given: number) => checkCount(name, given, count ?? 0),
  }) as ValueFunction;
}

const ENTER_ARGUMENT = 'if (written.bytes !== argument) enterPrepared(written, argumentRegion);';
const ENTER_RESULT = 'if (region.bytes !== view) enterPrepared(region, prepared);';

function putBytes({ argument }: InlineCalls, name: string, value: unknown, given: number): number {
  checkCount(name, given, 1);
  const bytes = bytesOf(name, [value]);
  if (bytes.length > argument.length) throw new BufferTooSmallError(bytes.length, argument.length);
  argument.set(bytes);
  return bytes.length;
}
