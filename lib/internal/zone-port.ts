/** This environment's side of all plugin zones: the operations under way, and how they end. */

import { type BusbarError, callNative, fromNative } from '../errors.js';
import { log, onLogLevel } from '../logger.js';
import type { NativeEnd, NativeZone, NativeZones, OnCall } from './binding.js';
import { native } from './native.js';
import type { ZoneParent } from './zone-parent.js';
import { checkWait, Deadline, type WaitOptions } from './wait.js';

interface Operation {
  readonly resolve: (end: NativeEnd) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: Deadline | null;
}

class ZonePort {
  readonly native: NativeZones;
  readonly #operations = new Map<number, Operation>();
  readonly #subscriptions = new Map<number, (end: NativeEnd, error: BusbarError | null) => void>();
  readonly #parents = new Map<number, ZoneParent>();
  #next = 0;

  constructor() {
    const onCall: OnCall = (parent, method, input) => {
      return this.#parents.get(parent)?.direct(method, input) ?? CLOSED;
    };
    this.native = callNative(() => native.openZones(() => this.#deliver(), onCall));
    onLogLevel((rank) => this.native.logLevel(rank));
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
    return new Promise((resolve, reject) => {
      const hasDeadline = checkWait(options, what);
      const operation = this.#number();
      const started = callNative(() => start(operation));
      const expire = (error: BusbarError): void => {
        this.#forget(operation);
        cancel?.(started);
        reject(error);
      };
      const deadline = hasDeadline ? new Deadline(options, what, expire) : null;
      if (this.#operations.size === 0) this.native.keepAlive(true);
      this.#operations.set(operation, { resolve, reject, deadline });
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
    return [this.#operations, this.#subscriptions, this.#parents].some((all) => all.has(number));
  }

  #forget(operation: number): Operation | undefined {
    const known = this.#operations.get(operation);
    this.#operations.delete(operation);
    if (known !== undefined && this.#operations.size === 0) this.native.keepAlive(false);
    return known;
  }

  #deliver(): void {
    for (const end of this.native.take()) {
      if (end.up !== undefined && end.up !== null) {
        const parent = this.#parents.get(end.operation);
        if (parent !== undefined) parent.handle(this.native, end);
        else if (end.up.kind === 0) this.native.refuse(end.up.number, ...CLOSED);
        continue;
      }
      const subscribed = this.#subscriptions.get(end.operation);
      if (subscribed !== undefined) {
        // What users do there is theirs: it must not keep the others from being told.
        const error = end.error === undefined || end.error === null ? null : fromNative(end.error);
        queueMicrotask(() => subscribed(end, error));
        continue;
      }
      if (end.log !== undefined && end.log !== null) {
        log(...end.log);
        continue;
      }
      const operation = this.#forget(end.operation);
      operation?.deadline?.disarm();
      if (operation === undefined) discard(end.zone);
      else if (end.error === undefined || end.error === null) operation.resolve(end);
      else operation.reject(fromNative(end.error));
    }
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
