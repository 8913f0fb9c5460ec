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
/** What a bound function reads before the call; see `NativeInline.bind`. */
const [TAKES_BYTES, TAKES_VALUE, TAKES_NOTHING, IS_SIGNAL] = [0, 1, 2, 3];
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
  readonly #functions = new Map<number, () => true | undefined>();
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
    if (!canGenerate()) {
      return this.#interpreted(method, this.#bind(method, TAKES_VALUE), signature);
    }
    const native = this.#bind(method, takenBy(signature));
    const apart = (values: readonly unknown[]): unknown => this.apart(method, signature, values);
    return generated(this, method, native, signature, apart);
  }

  /** A method of bytes. */
  bytes(method: number): BoundBytes {
    const known = this.#bytes.get(method);
    if (known !== undefined) return known;
    const native = this.#bind(method, TAKES_BYTES);
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

  #bind(method: number, takes: number): () => true | undefined {
    const key = 4 * method + takes;
    const known = this.#functions.get(key);
    if (known !== undefined) return known;
    try {
      const bound = this.#native.bind(method, takes);
      this.#functions.set(key, bound);
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
    const { registers, argument, result } = this;
    let view = result.subarray(0, 0);
    return (...values) => {
      if (this.isBusy) return this.apart(method, signature, values);
      this.isBusy = true;
      try {
        registers[0] = signature.encodeInto(values, argument, 0);
        this.isBusy = false;
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

function takenBy({ argument, result }: Signature): number {
  if (argument !== null) return TAKES_VALUE;
  return result === null ? IS_SIGNAL : TAKES_NOTHING;
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

/**
 * The function of a method, as code of its own. The arena is in use while values are written, which
 * may run code of the user's; the native side takes care of what runs within calls.
 */
function generated(
  calls: InlineCalls,
  method: number,
  native: () => true | undefined,
  signature: Signature,
  apart: (values: readonly unknown[]) => unknown,
): ValueFunction {
  const { name, argument, fields, result, isWrapped } = signature;
  const count = argument === null ? 0 : (fields?.length ?? 1);
  const names = Array.from({ length: count }, (_, index) => `a${index}`);
  const properties = fields?.map((field, index) => {
    // In brackets it is a property like any other.
    const key = JSON.stringify(field);
    return `${field === '__proto__' ? `[${key}]` : key}: a${index}`;
  });
  const value = properties === undefined ? 'a0' : `{ ${properties.join(', ')} }`;
  const list = `[${names.join(', ')}]`;
  const text = `
    'use strict';
    const { argument, argumentRegion, registers, result, resultRegion } = calls;
    let view = result.subarray(0, 0), prepared = resultRegion;
    function setView(length) {
      view = result.subarray(0, length);
      prepared = { ...resultRegion, bytes: view };
    }
    function resultOf(length) {
      ${result === null ? 'if (length === 0) return NOTHING;' : ''}
      if (length !== view.length) setView(length);
      ${result === null ? 'return Buffer.from(view);' : ENTER_RESULT}
      ${result === null ? '' : `return decode(view)${isWrapped ? '[0]' : ''};`}
    }
    return { [name](${names.join(', ')}) {
      ${argument === null ? withoutArgument(result === null) : withArgument(count, list, value)}
      return resultOf(registers[2]);
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
    withBytes: (...values: unknown[]) => callWithBytes(calls, method, signature, values),
    wrong: (given: number) => checkCount(name, given, count),
  }) as ValueFunction;
}

/** Bytes may be given all the same, and a signal may give some. */
function withoutArgument(isSignal: boolean): string {
  return `
      if (arguments.length !== 0) return withBytes(...arguments);
      try {
        ${isSignal ? 'if (native() === undefined) return NOTHING;' : 'native();'}
      } catch (error) {
        throw fromNative(error);
      }`;
}

function withArgument(count: number, values: string, value: string): string {
  return `
      if (arguments.length !== ${count}) wrong(arguments.length);
      if (calls.isBusy) return apart(${values});
      calls.isBusy = true;
      try {
        if (written.bytes !== argument) enterPrepared(written, argumentRegion);
        registers[0] = encodeInto(${value}, argument, 0);
        calls.isBusy = false;
        native();
      } catch (error) {
        calls.isBusy = false;
        if (error instanceof BufferTooSmallError) return apart(${values});
        throw fromNative(error);
      }`;
}

const ENTER_RESULT = 'if (region.bytes !== view) enterPrepared(region, prepared);';

/** A call of a method of bytes. */
function callWithBytes(
  calls: InlineCalls,
  method: number,
  signature: Signature,
  values: readonly unknown[],
): unknown {
  const bytes = bytesOf(signature.name, values);
  if (calls.isBusy || bytes.length > calls.room) return calls.apart(method, signature, values);
  calls.argument.set(bytes);
  const length = calls.bytes(method).run(bytes.length);
  return signature.decode(calls.result.subarray(0, length));
}
