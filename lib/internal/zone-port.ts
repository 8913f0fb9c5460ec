/** This environment's side of all plugin zones: the operations under way, and how they end. */

import { type BusbarError, callNative, fromNative } from '../errors.js';
import { log, onLogLevel } from '../logger.js';
import {
  NATIVE_OTHER,
  type NativeCalls,
  type NativeEnd,
  type NativeZone,
  type NativeZones,
  type OnCall,
} from './binding.js';
import { Chunk, FastBuffer, SLICE_MAX } from './chunk.js';
import { native } from './native.js';
import type { ZoneParent } from './zone-parent.js';
import { checkWait, Deadline, type WaitOptions } from './wait.js';

interface Operation {
  /** With the end, or, of a call, with its result. */
  readonly resolve: (end: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: Deadline | null;
  readonly isCall: boolean;
  /** Makes of the bytes of a result what is resolved to; nothing of it lies in them. */
  readonly decode: ((bytes: Buffer) => unknown) | null;
}

/** Words before those of ends; see `NativeCalls`. */
const WORDS = 4;
/** Ends that are collected at a time. */
const ENDS_MAX = 256;

class ZonePort {
  readonly native: NativeZones;
  readonly #operations = new Map<number, Operation>();
  readonly #subscriptions = new Map<number, (end: NativeEnd, error: BusbarError | null) => void>();
  readonly #parents = new Map<number, ZoneParent>();
  readonly #words = new Uint32Array(WORDS + 2 * ENDS_MAX);
  readonly #calls: NativeCalls;
  readonly #chunk = new Chunk();
  /** Ends whose place among the others is not known yet. */
  #others: NativeEnd[] = [];
  #next = 0;

  constructor() {
    const onCall: OnCall = (parent, method, input) => {
      return this.#parents.get(parent)?.direct(method, input) ?? CLOSED;
    };
    const deliver = (): void => this.#deliver();
    this.native = callNative(() => native.openZones(deliver, onCall));
    this.#calls = callNative(() => this.native.calls(this.#words, deliver));
    onLogLevel((rank) => this.native.logLevel(rank));
    // process.exit() runs none of the core's own clean-up on the main thread.
    process.on('exit', () => this.native.drain());
  }

  /**
   * Starts an operation under a number and resolves when it ends. One that is not waited for any
   * longer is given to `cancel`, with what `start` returned; what comes of it is dropped.
   */
  run<T>(
    what: string,
    options: WaitOptions | undefined,
    start: (operation: number) => T,
    cancel?: (started: T) => void,
  ): Promise<NativeEnd> {
    return this.#start(what, options, start, cancel, false, null) as Promise<NativeEnd>;
  }

  /**
   * As {@link run}, of a call: resolves to its result, or to what `decode` makes of that, in which
   * nothing of the bytes may be left.
   */
  call<T>(
    what: string,
    options: WaitOptions | undefined,
    start: (operation: number) => T,
    cancel: (started: T) => void,
    decode: ((bytes: Buffer) => unknown) | null,
  ): Promise<unknown> {
    return this.#start(what, options, start, cancel, true, decode);
  }

  #start<T>(
    what: string,
    options: WaitOptions | undefined,
    start: (operation: number) => T,
    cancel: ((started: T) => void) | undefined,
    isCall: boolean,
    decode: ((bytes: Buffer) => unknown) | null,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const hasDeadline = checkWait(options, what);
      const operation = this.#number();
      let started: T;
      try {
        started = start(operation);
      } catch (error) {
        throw fromNative(error);
      }
      let deadline: Deadline | null = null;
      if (hasDeadline) {
        deadline = new Deadline(options, what, (error) => {
          this.#forget(operation);
          cancel?.(started);
          reject(error);
        });
      }
      this.#add(operation, { resolve, reject, deadline, isCall, decode });
    });
  }

  /**
   * Starts an operation that ends again and again, each time with a call of `onEnd`; it keeps
   * nothing alive. It ends for good with what this returns.
   */
  subscribe(
    start: (operation: number) => void,
    onEnd: (end: NativeEnd, error: BusbarError | null) => void,
  ): () => void {
    const operation = this.#number();
    this.#subscriptions.set(operation, onEnd);
    try {
      callNative(() => start(operation));
    } catch (error) {
      this.#subscriptions.delete(operation);
      throw error;
    }
    return () => this.#subscriptions.delete(operation);
  }

  /** A number for who a plugin calls, until {@link forgetParent}. */
  addParent(parent: ZoneParent): number {
    const number = this.#number();
    this.#parents.set(number, parent);
    return number;
  }

  forgetParent(number: number): void {
    this.#parents.delete(number);
  }

  /** A number that no operation has: it may be taken round 2^32 once. */
  #number(): number {
    do this.#next = (this.#next + 1) >>> 0;
    while (this.#next === 0 || this.#isTaken(this.#next));
    return this.#next;
  }

  #isTaken(number: number): boolean {
    if (this.#operations.has(number) || this.#subscriptions.has(number)) return true;
    return this.#parents.has(number);
  }

  #add(number: number, operation: Operation): void {
    const [words, operations] = [this.#words, this.#operations];
    if (words[2] === 0) {
      this.native.keepAlive(true);
      words[2] = 1;
    }
    operations.set(number, operation);
    words[0] = operations.size;
    if (operation.isCall) (words[1] as number)++;
  }

  #forget(number: number): Operation | undefined {
    const [words, operations] = [this.#words, this.#operations];
    const known = operations.get(number);
    if (known === undefined) return undefined;
    operations.delete(number);
    words[0] = operations.size;
    if (known.isCall) (words[1] as number)--;
    // Whoever looks before the loop sleeps does it there, and so not between two calls.
    if (operations.size === 0 && words[3] === 0) {
      this.native.keepAlive(false);
      words[2] = 0;
    }
    return known;
  }

  #deliver(): void {
    const [words, chunk] = [this.#words, this.#chunk];
    for (;;) {
      chunk.ensure(SLICE_MAX);
      const count = this.#calls.collect(chunk.bytes, chunk.used);
      if (count === 0) return;
      let [at, isKept] = [chunk.used, false];
      for (let i = 0; i < count; i++) {
        const operation = words[WORDS + 2 * i] as number;
        const length = words[WORDS + 2 * i + 1] as number;
        if (length === NATIVE_OTHER) {
          // What it calls may have its own ends, but they are delivered after this.
          this.#deliverOther();
          continue;
        }
        isKept = this.#succeed(operation, new FastBuffer(chunk.memory, at, length)) || isKept;
        at = (at + length + 7) & ~7;
      }
      // What nobody has is used again.
      if (isKept) chunk.used = at;
    }
  }

  /** Whether the bytes were given to somebody. */
  #succeed(operation: number, bytes: Buffer): boolean {
    const known = this.#forget(operation);
    if (known === undefined) return false;
    known.deadline?.disarm();
    const { decode } = known;
    if (decode === null) {
      known.resolve(bytes);
      return true;
    }
    try {
      known.resolve(decode(bytes));
    } catch (error) {
      known.reject(error);
    }
    return false;
  }

  #deliverOther(): void {
    if (this.#others.length === 0) this.#others = this.native.take();
    const end = this.#others.shift();
    if (end !== undefined) this.#end(end);
  }

  #end(end: NativeEnd): void {
    if (end.up !== undefined && end.up !== null) {
      const parent = this.#parents.get(end.operation);
      if (parent !== undefined) parent.handle(this.native, end);
      else if (end.up.kind === 0) this.native.refuse(end.up.number, ...CLOSED);
      return;
    }
    const subscribed = this.#subscriptions.get(end.operation);
    if (subscribed !== undefined) {
      // What users do there is theirs: it must not keep the others from being told.
      const error = end.error === undefined || end.error === null ? null : fromNative(end.error);
      queueMicrotask(() => subscribed(end, error));
      return;
    }
    if (end.log !== undefined && end.log !== null) {
      log(...end.log);
      return;
    }
    const { operation: number, error, result } = end;
    if (error === undefined || error === null) {
      if (result !== undefined && result !== null) this.#succeed(number, result);
      else this.#succeedWith(number, end);
      return;
    }
    const operation = this.#forget(number);
    operation?.deadline?.disarm();
    operation?.reject(fromNative(error));
  }

  /** An operation other than a call. */
  #succeedWith(number: number, end: NativeEnd): void {
    const operation = this.#forget(number);
    operation?.deadline?.disarm();
    if (operation === undefined) discard(end.zone);
    else operation.resolve(end);
  }
}

const CLOSED = ['ERR_ZONE_CLOSED', 'the zone is closed'] as const;

/** Nobody waits for a zone any longer: it ends as soon as its children, which it cannot have. */
function discard(zone: NativeZone | null | undefined): void {
  try {
    zone?.close(0, false, 0);
  } catch {
    // Without a thread to close it, it ends when it is collected.
  }
}

/** The port, opened when first needed. */
export function zonePort(): ZonePort {
  return (port ??= new ZonePort());
}

let port: ZonePort | null = null;
