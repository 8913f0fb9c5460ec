/**
 * A pipe behind its public face: its state, what is wanted of the core, and its end.
 *
 * | state | ends by | then |
 * |---|---|---|
 * | opening (dial) | connected, failed, given up | open, or over |
 * | open | a loss, of a pipe that reconnects: its state changes to and fro, nothing else | open |
 * | open | the peer or a failure: `handleClosed` | over: what had arrived can still be received |
 * | open | `close()` | closing: what was accepted is still sent, for `lingerMs` at most |
 * | closing | all is sent, the time is up, or the peer is gone | over |
 *
 * The handle is given back to the core when the pipe is over and nothing is left to receive.
 */

import { BusbarError, callNative, fromNative } from '../errors.js';
import { log } from '../logger.js';
import type { PipeMetrics } from '../metrics.js';
import type { PipeSettings } from '../options.js';
import { STATES, type CloseReason, type ConnectionState } from '../state.js';
import {
  DROPS,
  noCounters,
  noGauges,
  readStats,
  type Counters,
  type Gauges,
  type PipeStats,
} from '../stats.js';
import { publish } from './diagnostics.js';
import { ExplicitInbox } from './explicit-inbox.js';
import { Inbox } from './inbox.js';
import { Outbox, type OutboxLimits } from './outbox.js';
import { peerOf, type Peer } from './peer.js';
import { Closing, Opening } from './phases.js';
import { rethrowLater, type PipeSink, type Port } from './port.js';
import type { QosSettings } from './qos.js';
import { QueuedOutbox } from './queued-outbox.js';
import { Receipts, type Done } from './receipts.js';
import { ReliableOutbox } from './reliable-outbox.js';
import { PipeTypes } from './types.js';
import type { WaitOptions } from './wait.js';

/** The face of a pipe or listener, as far as its core knows it: an EventEmitter. */
export interface Face {
  emit(event: string, ...details: unknown[]): boolean;
  listenerCount(event: string): number;
}

export class PipeCore implements PipeSink {
  readonly port: Port;
  readonly handle: number;
  readonly address: string;
  readonly spins: boolean;
  readonly reconnects: boolean;
  readonly inbox: Inbox;
  readonly receipts: Receipts | null;
  outbox: Outbox;
  readonly types: PipeTypes;
  state: ConnectionState;
  reason: CloseReason | null = null;
  face: Face | null = null;

  /** Whether the core collects what is sent, and writes it at the end of the turn. */
  private readonly isStream: boolean;
  /** Whether messages outlive the connection. */
  private readonly isReliable: boolean;
  private readonly opening: Opening | null;
  private bits = 0;
  /** Whether the core still knows the handle. */
  private held = true;
  private referenced = true;
  private closing: Closing | null = null;
  /** Until when, by `performance.now()`, what was sent is worth delivering after the close. */
  private lingersUntil = 0;
  private idSeen: string | null = null;
  private dropsTold: Counters = noCounters();
  private peerSeen: Peer | null | undefined;
  private last: (Counters & Gauges) | null = null;
  private readonly limits: OutboxLimits;
  private readonly qos: QosSettings | null;

  constructor(
    port: Port,
    handle: number,
    address: string,
    settings: PipeSettings,
    state: 'CONNECTING' | 'CONNECTED',
  ) {
    this.port = port;
    this.handle = handle;
    this.address = address;
    this.state = state;
    this.isStream = !/^(shm|inproc):/.test(address);
    this.spins = SPINNING.has(settings.native.wait);
    this.limits = {
      maxMessageBytes: settings.native.maxMessageBytes,
      maxPendingSends: settings.maxPendingSends,
    };
    this.qos = settings.qos;
    const { sessionTimeoutMs, ack } = settings.native;
    this.isReliable = sessionTimeoutMs > 0;
    const by = DONE[ack ?? 0] ?? 'in order';
    this.receipts = this.isReliable ? new Receipts(port, handle, by) : null;
    const PlainInbox = this.isReliable && by === 'each' ? ExplicitInbox : Inbox;
    this.inbox = new PlainInbox(this, settings.qos?.isReceiving === true);
    const PlainOutbox = this.isReliable ? ReliableOutbox : Outbox;
    this.outbox =
      settings.qos === null || settings.qos.standard === null
        ? new PlainOutbox(this, this.limits)
        : new QueuedOutbox(this, this.limits, settings.qos, null);
    this.types = new PipeTypes(this);
    this.reconnects = settings.reconnects === true;
    this.opening = state === 'CONNECTING' ? new Opening() : null;
    port.addPipe(this);
    port.ref(1);
    if (state === 'CONNECTED') this.told(state, 'CONNECTING');
  }

  get peer(): Peer | null {
    if (this.peerSeen === undefined && this.held && this.state !== 'CONNECTING') {
      const native = callNative(() => this.port.native.peer(this.handle));
      this.peerSeen = native && peerOf(native);
    }
    return this.peerSeen ?? null;
  }

  /** Names the connection; the last one while there is none. */
  get connectionId(): string | null {
    if (this.held) {
      this.idSeen = callNative(() => this.port.native.connectionId(this.handle)) ?? this.idSeen;
    }
    return this.idSeen;
  }

  fetched(count: number): void {
    if (this.reconnects) this.types.collect();
    this.receipts?.count(count);
  }

  processed(left: number): void {
    if (this.receipts !== null && this.held) this.receipts.done(left);
  }

  takeAnnouncement(): Buffer | null {
    return this.held ? this.port.native.takeAnnouncement(this.handle) : null;
  }

  counters(): Counters & Gauges {
    if (this.held) return readStats(this.port.native, this.handle);
    return this.last ?? { ...noCounters(), ...noGauges() };
  }

  /** The same with what waits in JavaScript. */
  stats(): PipeStats {
    const stats = this.counters();
    return { ...stats, messagesQueued: stats.messagesQueued + this.outbox.queued };
  }

  metrics(): PipeMetrics {
    const { handle: pipe, address, state } = this;
    return { pipe, address, state, ...this.stats() };
  }

  flush(): void {
    this.outbox.sender.flush();
    if (this.isStream && this.held) this.port.native.flush();
  }

  /** The outbox for messages with terms of their own, which need a queue in the core. */
  queuedOutbox(): Outbox {
    if (!(this.outbox instanceof QueuedOutbox)) {
      this.outbox.sender.flush();
      const previous = this.outbox;
      this.outbox = new QueuedOutbox(this, this.limits, this.qos, previous);
    }
    return this.outbox;
  }

  /** Settles when the pipe is connected, or cannot be; closes it if the wait is given up. */
  connected(wait: WaitOptions): Promise<void> {
    if (this.opening === null) return Promise.resolve();
    return this.opening.wait(wait, `dialing ${this.address}`, (limit) => {
      const error = limit.code === 'ERR_TIMED_OUT' ? this.whyNotYet(limit) : limit;
      const { code, message } = error;
      this.finish({ code, status: 0, text: message, clean: false, local: true }, error, false);
      this.free(0, '');
      return error;
    });
  }

  /** What the last attempt to connect came to, if there was one, says more than a time limit. */
  private whyNotYet(limit: BusbarError): BusbarError {
    const { code, text, clean } = this.takeReason();
    return clean ? limit : new BusbarError(code, text, { cause: limit });
  }

  ref(): void {
    this.reference(true);
  }

  unref(): void {
    this.reference(false);
  }

  want(bit: number): void {
    if ((this.bits & bit) !== 0 || !this.held) return;
    this.bits |= bit;
    this.port.native.interest(this.handle, this.bits);
  }

  unwant(bit: number): void {
    if ((this.bits & bit) === 0 || !this.held) return;
    this.bits &= ~bit;
    this.port.native.interest(this.handle, this.bits);
  }

  /** A background failure: told to whoever listens. */
  report(error: BusbarError): void {
    publish('error', { pipe: this.handle, address: this.address, error });
    if (this.face !== null && this.face.listenerCount('error') > 0) this.emit('error', error);
    else log('warn', error.message, { code: error.code, pipe: this.handle, error });
  }

  handleReadable(): void {
    this.inbox.handleReadable();
  }

  handleWritable(): void {
    this.outbox.handleWritable();
  }

  /** Messages were dropped. */
  handleDropped(): void {
    const now = this.counters();
    for (const cause of DROPS) {
      const count = now[cause] - this.dropsTold[cause];
      if (count <= 0) continue;
      log('debug', `messages dropped (${cause}): ${count}`, { pipe: this.handle });
      publish('drop', { pipe: this.handle, address: this.address, cause, count });
    }
    this.dropsTold = now;
  }

  /** A reliable message was given up. */
  handleDeliveryFailed(): void {
    const what = `a message over the pipe at ${this.address} was given up`;
    const why = 'it was sent as often as maxDeliveryAttempts allows';
    this.report(new BusbarError('ERR_DELIVERY_FAILED', `${what}: ${why}`));
  }

  handleState(number: number): void {
    const state = STATES[number];
    if (state === undefined || state === this.state || this.state === 'CLOSED') return;
    // The last state comes with its reason, by handleClosed.
    if (state === 'CLOSED') return;
    const previous = this.state;
    this.state = state;
    this.peerSeen = undefined;
    if (state === 'DISCONNECTED') {
      const reason = this.takeReason();
      this.told(state, previous);
      this.emit('state', state, previous, reason);
      // Of a pipe that is over, handleClosed tells.
      if (previous === 'CONNECTED' && this.reconnects) this.reportLoss(reason);
      return;
    }
    this.told(state, previous);
    this.emit('state', state, previous);
    if (state === 'CONNECTED') this.opening?.succeed();
  }

  /** The peer or a failure has ended the pipe. */
  handleClosed(): void {
    if (this.state === 'CLOSED') return;
    const given = this.takeReason();
    const isDial = this.opening?.isPending === true;
    const error = isDial ? new BusbarError(given.code, given.text) : this.errorOf(given);
    // A dial that fails says so itself.
    const told = given.clean || this.closing !== null || isDial;
    this.opening?.fail(error);
    this.finish(given, error, !told);
    if (this.closing === null) return;
    this.free(0, '');
    this.closing.end();
  }

  /** Nothing is left to receive from the core. */
  drained(): void {
    this.free(0, '');
  }

  /** Ends the pipe from this side. */
  close(lingerMs: number, status: number, text: string): Promise<void> {
    const until = performance.now() + lingerMs;
    this.lingersUntil = this.closing === null ? until : Math.min(until, this.lingersUntil);
    if (this.closing !== null) {
      this.closing.shorten(lingerMs);
      return this.closing.done;
    }
    const closing = new Closing(() => this.closeNow(status, text));
    this.closing = closing;
    if (this.state === 'CLOSED') {
      // Over already: what had arrived and was not received is given up.
      this.inbox.discard({ error: closedHere(), clean: true });
      this.free(status, text);
      closing.end();
      return closing.done;
    }
    const error = closedHere();
    this.opening?.fail(error);
    this.outbox.seal(error);
    this.inbox.acknowledge();
    this.receipts?.endTurn();
    const got = this.receipts?.got(this.inbox.unread);
    this.inbox.discard({ error, clean: true });
    if (got !== undefined) this.port.native.stopReceiving(this.handle, got);
    if (!this.mayDeliver || this.outbox.isIdle || lingerMs === 0) {
      this.closeNow(status, text);
    } else {
      this.outbox.onIdle = () => this.closeNow(status, text);
      closing.shorten(lingerMs);
    }
    return closing.done;
  }

  /** Whether what was accepted may be handed over yet, if the core cannot do that by itself. */
  private get mayDeliver(): boolean {
    if (this.state === 'CONNECTING') return false;
    // What the core has, it delivers over the next connection; but for what it has no room.
    const isFull = this.reconnects && this.outbox.queued > 0;
    return this.state === 'CONNECTED' || this.isReliable || isFull;
  }

  private closeNow(status: number, text: string): void {
    if (this.state !== 'CLOSED') {
      const unconfirmed = this.counters().messagesUnconfirmed;
      const waiting = this.outbox.queued + (this.held ? unconfirmed : 0);
      const reason: CloseReason = { code: 'ERR_CLOSED', status, text, clean: true, local: true };
      this.finish(reason, closedHere(), false);
      const lost = waiting + this.free(status, text);
      if (lost > 0) log('warn', `closed with ${lost} messages unsent`, { pipe: this.handle });
    }
    this.closing?.end();
  }

  /** Both directions are over. Whoever waits is told before any listener can interfere. */
  private finish(reason: CloseReason, error: BusbarError, isFailure: boolean): void {
    const previous = this.state;
    this.state = 'CLOSED';
    this.reason = reason;
    this.outbox.onIdle = null;
    this.outbox.fail(error);
    this.inbox.finish({ error, clean: reason.clean });
    this.reference(false);
    this.told('CLOSED', previous);
    publish('close', { pipe: this.handle, address: this.address, reason });
    this.emit('state', 'CLOSED', previous, reason);
    if (isFailure) this.report(error);
    this.emit('close', reason);
  }

  /** Gives the handle back; returns how many messages that were accepted are given up. */
  private free(status: number, text: string): number {
    if (!this.held) return 0;
    let lost = 0;
    try {
      // What can be asked afterwards.
      void this.peer;
      void this.connectionId;
      this.types.collect();
      this.last = this.counters();
      const lingerMs = Math.max(0, Math.ceil(this.lingersUntil - performance.now()));
      lost = this.port.native.close(this.handle, status, text, lingerMs);
      this.last.sendsLost += lost;
      const { messagesUnconfirmed } = this.last;
      Object.assign(this.last, noGauges(), { messagesUnconfirmed });
    } catch (error) {
      this.report(fromNative(error));
    }
    this.held = false;
    this.port.removePipe(this, this.last ?? noCounters());
    return lost;
  }

  private errorOf({ code, text, clean }: CloseReason): BusbarError {
    const pipe = `the pipe at ${this.address}`;
    const what = clean ? `the peer closed ${pipe}` : `${pipe} has failed`;
    return new BusbarError(code, text === '' ? what : `${what}: ${text}`);
  }

  /** The connection is lost, and being replaced; with it, nothing is if the pipe is reliable. */
  private reportLoss(reason: CloseReason): void {
    const error = this.lossOf(reason);
    if (this.isReliable) log('info', error.message, { pipe: this.handle });
    else this.report(error);
  }

  private lossOf({ code, text }: CloseReason): BusbarError {
    const lost = `the connection of the pipe at ${this.address} is lost, and being replaced`;
    return new BusbarError(code, text === '' ? lost : `${lost}: ${text}`);
  }

  private takeReason(): CloseReason {
    const { code, message, status, clean } = callNative(() => {
      return this.port.native.takeReason(this.handle);
    });
    return { code: fromNative({ code, message }).code, status, text: message, clean, local: false };
  }

  private reference(wanted: boolean): void {
    if (wanted && this.state === 'CLOSED') return;
    if (this.referenced === wanted) return;
    this.referenced = wanted;
    this.port.ref(wanted ? 1 : -1);
  }

  /** Tells those who watch all pipes. */
  private told(state: ConnectionState, previous: ConnectionState): void {
    const about = { pipe: this.handle, address: this.address };
    log('debug', `${this.address}: ${state}`, { pipe: this.handle });
    publish('state', { ...about, state, previous });
    if (state === 'CONNECTED' && previous === 'CONNECTING') publish('open', about);
  }

  /** Tells the face; what a listener throws must not keep the pipe from going on. */
  private emit(event: string, ...details: unknown[]): void {
    try {
      this.face?.emit(event, ...details);
    } catch (error) {
      rethrowLater(error);
    }
  }
}

/** Ways to wait that spin, see `NativePipeOptions.wait`. */
const SPINNING = new Set([2, 3]);

/** By `NativePipeOptions.ack`. */
const DONE: readonly Done[] = ['in order', 'nobody', 'each'];

function closedHere(): BusbarError {
  return new BusbarError('ERR_CLOSED', 'the pipe was closed by this side; open a new one to go on');
}
