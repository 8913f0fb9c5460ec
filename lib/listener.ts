/** A listener: where pipes come in. */

import { EventEmitter } from 'node:events';

import { invalidArgument, type BusbarError } from './errors.js';
import type { ListenerCore } from './internal/listener-core.js';
import type { WaitOptions } from './internal/wait.js';
import type { Pipe } from './pipe.js';
import type { TlsOptions } from './tls.js';

/** Events of a listener. */
export interface ListenerEvents {
  /** Somebody has connected. Emitted only for pipes that no `accept()` waits for. */
  pipe: [pipe: Pipe];
  /** Somebody could not connect; the listener goes on. Without a listener it is logged instead. */
  error: [error: BusbarError];
  /** The listener is closed. */
  close: [];
}

/**
 * Accepts connections: with `accept()`, by iterating, or by the event `'pipe'`. Pipes that nobody
 * takes wait; above `backlog` of them, further ones are closed.
 *
 * @example
 * ```ts
 * import { connectInproc, listen } from 'busbar';
 *
 * const listener = await listen('inproc://listener-example');
 * setTimeout(() => connectInproc('listener-example').send('hello'), 10);
 * for await (const pipe of listener) {
 *   console.log(String(await pipe.receive())); // hello
 *   break;
 * }
 * await listener.close();
 * ```
 */
export class Listener extends EventEmitter<ListenerEvents> {
  readonly #core: ListenerCore;

  /** @internal Listeners come from `listen()` and `bindInproc()`. */
  constructor(core: ListenerCore) {
    super();
    this.#core = core;
    const emitter: EventEmitter = this;
    core.face = emitter;
    // Pipes that came before somebody listened for them.
    emitter.on('newListener', (event: string) => {
      if (event === 'pipe') process.nextTick(() => core.offer());
      // The name that servers of node:net have for it, of which nobody would ever hear here.
      if (event !== 'connection') return;
      throw invalidArgument('a listener has no event "connection"; the event is "pipe"');
    });
  }

  /** The address to dial. */
  get address(): string {
    return this.#core.address;
  }

  /**
   * The next pipe, when it comes.
   *
   * @throws BusbarError (as a rejection) `ERR_CLOSED`, `ERR_TIMED_OUT` (retryable), `ABORT_ERR`,
   * `ERR_AGAIN` (retryable: 1,024 calls wait already), `ERR_INVALID_ARGUMENT`
   */
  accept(options?: WaitOptions): Promise<Pipe> {
    return this.#core.accept(options);
  }

  /** Iterates over pipes until the listener is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Pipe, undefined> {
    return this.#core.iterate();
  }

  /**
   * tls: shows another certificate, and trusts others, from now on: to renew what is about to
   * expire. Pipes that are connected stay as they are.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT`, `ERR_NOT_SUPPORTED` (no listener of tls://),
   * `ERR_CLOSED`
   */
  setSecureContext(options: TlsOptions): void {
    this.#core.setCredentials(options);
  }

  /**
   * Stops listening. Pipes that were taken stay open; pipes that wait are closed; `accept()` ends
   * with `ERR_CLOSED`, iteration just ends.
   */
  close(): Promise<void> {
    this.#core.close();
    return Promise.resolve();
  }

  /** As {@link Listener.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Keeps the event loop alive while listening; so it is by default. */
  ref(): this {
    this.#core.ref();
    return this;
  }

  /** Lets the process end although this still listens. */
  unref(): this {
    this.#core.unref();
    return this;
  }
}
