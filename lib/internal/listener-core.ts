/** A listener behind its public face: who takes the pipes that come in. */

import {
  AbortError,
  BusbarError,
  callNative,
  fromNative,
  invalidArgument,
  show,
} from '../errors.js';
import { log } from '../logger.js';
import type { ListenSettings } from '../options.js';
import { Pipe } from '../pipe.js';
import { listenerTls, type TlsOptions } from '../tls.js';
import { PipeCore, type Face } from './core.js';
import { Deque } from './deque.js';
import { peerOf } from './peer.js';
import { rethrowLater, type ListenerSink, type Port } from './port.js';
import { Deadline, checkWait, type WaitOptions } from './wait.js';

interface Accepting {
  deadline: Deadline | null;
  readonly resolve: (pipe: Pipe) => void;
  readonly reject: (error: unknown) => void;
}

export class ListenerCore implements ListenerSink {
  readonly handle: number;
  readonly address: string;
  face: Face | null = null;

  private readonly port: Port;
  private readonly settings: ListenSettings;
  private readonly arrived = new Deque<Pipe>();
  private readonly waiting = new Deque<Accepting>();
  private closed: BusbarError | null = null;
  private referenced = true;

  constructor(port: Port, handle: number, address: string, settings: ListenSettings) {
    this.port = port;
    this.handle = handle;
    this.address = address;
    this.settings = settings;
    port.addListener(this);
    port.ref(1);
    settings.signal?.addEventListener('abort', this.onAbort, { once: true });
  }

  accept(options: WaitOptions | undefined): Promise<Pipe> {
    return new Promise((resolve, reject) => {
      const accepting: Accepting = { deadline: null, resolve, reject };
      const isTimed = checkWait(options, 'accept()');
      const pipe = this.waiting.length === 0 ? this.take() : undefined;
      if (pipe !== undefined) return resolve(pipe);
      if (this.closed !== null) return reject(this.closed);
      if (this.waiting.length >= ACCEPTING_MAX) return reject(tooMany());
      if (isTimed) {
        accepting.deadline = new Deadline(options, 'accept()', (error) => {
          this.waiting.remove(accepting);
          reject(error);
        });
      }
      this.waiting.push(accepting);
    });
  }

  iterate(): AsyncIterableIterator<Pipe, undefined> {
    const over = new AbortController();
    const done = { done: true, value: undefined } as const;
    return {
      next: async () => {
        try {
          return { done: false, value: await this.accept({ signal: over.signal }) };
        } catch (error) {
          if (over.signal.aborted || error === this.closed) return done;
          throw error;
        }
      },
      return: () => {
        over.abort();
        return Promise.resolve(done);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Gives waiting pipes to listeners of the event, as far as there are any. */
  offer(): void {
    const { face } = this;
    while (face !== null && this.arrived.length > 0 && face.listenerCount('pipe') > 0) {
      this.emit('pipe', this.take() as Pipe);
    }
  }

  /** The pipe that has waited longest. It keeps the process alive from now on. */
  private take(): Pipe | undefined {
    return this.arrived.shift()?.ref();
  }

  close(): void {
    if (this.closed !== null) return;
    try {
      this.port.native.closeListener(this.handle);
    } catch (error) {
      this.report(fromNative(error));
    }
    this.finish(new BusbarError('ERR_CLOSED', `the listener at ${this.address} was closed`));
  }

  ref(): void {
    this.reference(true);
  }

  unref(): void {
    this.reference(false);
  }

  handleAccepted(handle: number): void {
    const isTaken = this.waiting.length > 0 || (this.face?.listenerCount('pipe') ?? 0) > 0;
    if (!isTaken && this.arrived.length >= this.settings.native.backlog) {
      log('warn', 'the backlog is full: a connection was refused', { address: this.address });
      return this.port.native.refuse(handle, 'the backlog of the listener is full');
    }
    const core = new PipeCore(this.port, handle, this.address, this.settings, 'CONNECTED');
    const pipe = new Pipe(core);
    const accepting = this.waiting.shift();
    if (accepting !== undefined) {
      accepting.deadline?.disarm();
      accepting.resolve(pipe);
    } else if (this.face !== null && this.face.listenerCount('pipe') > 0) {
      this.emit('pipe', pipe);
    } else {
      // Until somebody has it, it is the listener that keeps the process alive, or does not.
      this.arrived.push(pipe.unref());
    }
  }

  handleAsking(handle: number): void {
    void this.judge(handle);
  }

  /** Asks the user's function about a dialer; what is no clear yes is a no. */
  private async judge(handle: number): Promise<void> {
    let verdict: unknown = false;
    try {
      const native = callNative(() => this.port.native.peer(handle));
      // It may have given up meanwhile.
      verdict = native !== null && (await this.settings.authorize?.(peerOf(native)));
      if (typeof verdict !== 'boolean' && typeof verdict !== 'string') {
        const allowed = 'it must give true, false or a text';
        throw invalidArgument(`authorize() has given ${show(verdict)}; ${allowed}`);
      }
    } catch (cause) {
      verdict = false;
      this.report(cause instanceof BusbarError ? cause : hasThrown(cause));
    }
    const reason = typeof verdict === 'string' && verdict !== '' ? verdict : 'not authorized';
    this.port.native.admit(handle, Number(verdict === true), reason);
  }

  setCredentials(options: TlsOptions): void {
    const native = listenerTls(options);
    if (this.closed !== null) throw this.closed;
    callNative(() => this.port.native.setCredentials(this.handle, native));
  }

  handleWarning(): void {
    const warning = callNative(() => this.port.native.takeWarning());
    if (warning !== null) this.report(fromNative(warning));
  }

  /** The listener was closed underneath. */
  handleClosed(): void {
    if (this.closed !== null) return;
    const message = `the listener at ${this.address} is gone; listen again`;
    this.finish(new BusbarError('ERR_CLOSED', message));
  }

  private readonly onAbort = (): void => {
    const error = new AbortError(`listening at ${this.address}`, this.settings.signal?.reason);
    this.close();
    log('debug', error.message, { address: this.address });
  };

  private finish(error: BusbarError): void {
    this.closed = error;
    this.settings.signal?.removeEventListener('abort', this.onAbort);
    this.port.removeListener(this);
    this.reference(false);
    for (const pipe of this.arrived.drain()) void pipe.close({ reason: 'the listener was closed' });
    for (const { deadline, reject } of this.waiting.drain()) {
      deadline?.disarm();
      reject(error);
    }
    this.emit('close');
  }

  private reference(wanted: boolean): void {
    if (this.referenced === wanted || (wanted && this.closed !== null)) return;
    this.referenced = wanted;
    this.port.ref(wanted ? 1 : -1);
  }

  private report(error: BusbarError): void {
    if (this.face !== null && this.face.listenerCount('error') > 0) this.emit('error', error);
    else log('warn', error.message, { code: error.code, address: this.address, error });
  }

  private emit(event: string, ...details: unknown[]): void {
    try {
      this.face?.emit(event, ...details);
    } catch (error) {
      rethrowLater(error);
    }
  }
}

const ACCEPTING_MAX = 1024;

function tooMany(): BusbarError {
  return new BusbarError('ERR_AGAIN', `${ACCEPTING_MAX} calls of accept() wait already`);
}

function hasThrown(cause: unknown): BusbarError {
  // Anything can be thrown, also what is no text and cannot be made one.
  const message = `authorize() has thrown: ${cause instanceof Error ? cause.message : show(cause)}`;
  return new BusbarError('ERR_PERMISSION_DENIED', message, { cause });
}
