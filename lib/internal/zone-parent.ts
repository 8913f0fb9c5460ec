/** What a zone's plugin asks of whoever loaded it: functions by name, and objects by number. */

import { AbortError, BusbarError, show } from '../errors.js';
import { log } from '../logger.js';
import type { ExposedFunction } from '../zone-exposed.js';
import type { NativeEnd, NativeZones } from './binding.js';
import { isShared } from './zone-methods.js';

/** Why a call failed: a code and a message. */
export type Failure = readonly [code: string, message: string];

interface Lent {
  readonly value: object;
  readonly onRelease: (() => void) | undefined;
}

const NO_BYTES = new Uint8Array(0);

export class ZoneParent {
  /** Is told of each generation that goes down. */
  onDown: (generation: number) => void = () => undefined;
  readonly #functions: ReadonlyMap<string, ExposedFunction>;
  readonly #lent = new Map<number, Lent>();
  readonly #controllers = new Map<number, AbortController>();

  constructor(functions: ReadonlyMap<string, ExposedFunction>) {
    this.#functions = functions;
  }

  lend(number: number, lent: Lent): void {
    this.#lent.set(number, lent);
  }

  lent(number: number): object | undefined {
    return this.#lent.get(number)?.value;
  }

  takeBack(number: number): void {
    this.#lent.delete(number);
  }

  /** What came by way of the outbox. */
  handle(native: NativeZones, { up, result }: NativeEnd): void {
    if (up === undefined || up === null) return;
    const { kind, number, method } = up;
    if (kind === 0) void this.#call(native, number, method ?? '', result ?? Buffer.alloc(0));
    else if (kind === 1)
      this.#controllers.get(number)?.abort(new AbortError('the call', undefined));
    else if (kind === 2) this.#release(number);
    else guarded('onDown', () => this.onDown(number));
  }

  /** Runs a function within a call of the plugin on this thread. Never throws. */
  direct(method: string, payload: Buffer): Uint8Array | Failure {
    try {
      const result = this.#run(method, payload, new AbortController().signal);
      if (!isPromise(result)) return bytesOf(method, result);
      result.then(undefined, () => undefined);
      const message = `${method}() gives a promise, and this thread waits for the plugin`;
      throw new BusbarError('ERR_NOT_SUPPORTED', message);
    } catch (error) {
      return failureOf(error);
    }
  }

  async #call(native: NativeZones, number: number, method: string, payload: Buffer): Promise<void> {
    const controller = new AbortController();
    this.#controllers.set(number, controller);
    try {
      const result = this.#run(method, payload, controller.signal);
      // What ends at once is answered at once: the plugin's thread may be waiting.
      const value = isPromise(result) ? await result : result;
      native.answer(number, bytesOf(method, value));
    } catch (error) {
      native.refuse(number, ...failureOf(error));
    } finally {
      this.#controllers.delete(number);
    }
  }

  #run(method: string, payload: Buffer, signal: AbortSignal): unknown {
    const run = this.#functions.get(method);
    if (run !== undefined) return run(payload, { signal });
    const names = [...this.#functions.keys()].join(', ') || 'nothing';
    throw new BusbarError('ERR_METHOD_NOT_FOUND', `there is no ${show(method)}, but ${names}`);
  }

  #release(number: number): void {
    const lent = this.#lent.get(number);
    this.#lent.delete(number);
    guarded('onRelease', () => lent?.onRelease?.());
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}

function bytesOf(method: string, result: unknown): Uint8Array {
  if (result === undefined) return NO_BYTES;
  if (!(result instanceof Uint8Array)) {
    throw new TypeError(`${method}() gave ${show(result)}; it must give a Uint8Array or nothing`);
  }
  return isShared(result) ? Buffer.from(result) : result;
}

function failureOf(error: unknown): Failure {
  try {
    const message = error instanceof Error ? String(error.message) : show(error);
    const code = (error as { code?: unknown } | undefined | null)?.code;
    return [typeof code === 'string' ? code : 'ERR_PARENT_FAILED', message];
  } catch {
    // Whatever was thrown, its own code may throw again.
    return ['ERR_PARENT_FAILED', 'what it threw cannot be shown'];
  }
}

/** What users do there is theirs: it must not keep others from being told. */
function guarded(what: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    log('error', `${what} threw: ${failureOf(error)[1]}`);
  }
}
