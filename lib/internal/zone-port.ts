/** This environment's side of all plugin zones: the operations under way, and how they end. */

import { type BusbarError, callNative, fromNative } from '../errors.js';
import { log, onLogLevel } from '../logger.js';
import type { NativeEnd, NativeZone, NativeZones } from './binding.js';
import { native } from './native.js';
import { checkWait, Deadline, type WaitOptions } from './wait.js';

interface Operation {
  readonly resolve: (end: NativeEnd) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: Deadline | null;
}

class ZonePort {
  readonly native: NativeZones;
  readonly #operations = new Map<number, Operation>();
  #next = 0;

  constructor() {
    this.native = callNative(() => native.openZones(() => this.#deliver()));
    onLogLevel((rank) => this.native.logLevel(rank));
  }

  /**
   * Starts an operation under a number and resolves when it ends. One that is not waited for any
   * longer goes on; its result is dropped.
   */
  run(
    what: string,
    options: WaitOptions | undefined,
    start: (operation: number) => void,
  ): Promise<NativeEnd> {
    return new Promise((resolve, reject) => {
      const hasDeadline = checkWait(options, what);
      const operation = this.#number();
      callNative(() => start(operation));
      const deadline = hasDeadline
        ? new Deadline(options, what, (error) => {
            this.#forget(operation);
            reject(error);
          })
        : null;
      if (this.#operations.size === 0) this.native.keepAlive(true);
      this.#operations.set(operation, { resolve, reject, deadline });
    });
  }

  /** A number that no operation has: it may be taken round 2^32 once. */
  #number(): number {
    do this.#next = (this.#next + 1) >>> 0;
    while (this.#operations.has(this.#next));
    return this.#next;
  }

  #forget(operation: number): Operation | undefined {
    const known = this.#operations.get(operation);
    this.#operations.delete(operation);
    if (known !== undefined && this.#operations.size === 0) this.native.keepAlive(false);
    return known;
  }

  #deliver(): void {
    for (const end of this.native.take()) {
      if (end.log !== undefined && end.log !== null) {
        log(...end.log);
        continue;
      }
      const operation = this.#forget(end.operation);
      operation?.deadline?.disarm();
      if (operation === undefined) discard(end.zone);
      else if (end.error === undefined || end.error === null) operation.resolve(end);
      else operation.reject(errorOf(end.error));
    }
  }
}

/** Nobody waits for a zone any longer: it ends as soon as its children, which it cannot have. */
function discard(zone: NativeZone | null | undefined): void {
  try {
    zone?.close(0, 0);
  } catch {
    // Without a thread to close it, it ends when it is collected.
  }
}

function errorOf([code = '', message = '']: readonly string[]): BusbarError {
  return fromNative({ code, message });
}

/** The port, opened when first needed. */
export function zonePort(): ZonePort {
  return (port ??= new ZonePort());
}

let port: ZonePort | null = null;
