/**
 * The port: the one place of a Node environment where native events come in and staged messages
 * go out.
 *
 * Events are dispatched to pipes and listeners by handle. What they stage while that goes on is
 * submitted when all are done; what is staged outside of it is submitted at the end of the turn, by
 * one `nextTick` for all pipes.
 */

import type { Backend, IoMode } from '../configure.js';
import { callNative } from '../errors.js';
import type { PipeMetrics } from '../metrics.js';
import { addCounters, noCounters, type Counters } from '../stats.js';
import { Arena } from './arena.js';
import type { BatchView } from './batch.js';
import { Event, HANDLE_INDEX_MASK, type Native, type NativePort } from './binding.js';
import { Chunk, SLICE_MAX } from './chunk.js';
import { Histogram } from './histogram.js';
import { checkByteOrder } from './record.js';

/** What a pipe is told. */
export interface PipeSink {
  readonly handle: number;
  handleReadable(): void;
  handleWritable(): void;
  handleDropped(): void;
  handleDeliveryFailed(): void;
  handleState(state: number): void;
  handleClosed(): void;
  metrics(): PipeMetrics;
}

/** What a listener is told. */
export interface ListenerSink {
  readonly handle: number;
  handleAccepted(pipe: number): void;
  handleAsking(pipe: number): void;
  handleWarning(): void;
  handleClosed(): void;
}

/** Something with staged messages. */
export interface Flushable {
  /** Whether it is in the port's list; the port's to change. */
  dirty: boolean;
  endTurn(): void;
}

export class Port {
  readonly native: NativePort;
  /** Where the core describes what {@link Port.receive} got. */
  readonly slots: Uint32Array = new Uint32Array(3 * BATCH_MAX);
  readonly chunk: Chunk = new Chunk();
  /** The batch in whose callback the program is; its messages are described by `slots`. */
  active: BatchView | null = null;

  /** Times the core called in. */
  turns = 0;
  /** Times the core was given something to send. */
  sends = 0;
  pipesOpened = 0;
  pipesClosed = 0;
  /** Sum over closed pipes. */
  readonly past: Counters = noCounters();
  /** How long sends waited for room, and how long connecting took. */
  readonly sendWaits: Histogram = new Histogram();
  readonly dials: Histogram = new Histogram();

  private readonly events = new Uint32Array(4 * EVENTS_MAX);
  /** See `registers.rs`. */
  private readonly registers = new Int32Array(8);
  private readonly pipes: (PipeSink | undefined)[] = [];
  private readonly listeners: (ListenerSink | undefined)[] = [];
  private readonly arenas: Arena[] = [];
  private depth = 0;
  private readonly dirty: (Flushable | null)[] = [];
  /** Used part of `dirty`, which never shrinks: setting an array's length costs 20 ns. */
  private dirtyCount = 0;
  /** How many of them a flush that goes on has dealt with. */
  private flushed = 0;
  /** Whether the dirty list will be seen to without a tick. */
  private collecting = false;
  private scheduled = false;
  private references = 0;

  constructor(
    native: Pick<Native, 'openPort'>,
    /** Who drives the engine. */
    readonly io: IoMode = 'loop',
    /** What reaches sockets, if that was chosen. */
    backend: Backend | 'auto' | null = null,
  ) {
    checkByteOrder();
    const { events, slots, registers } = this;
    const onWake = (): void => this.dispatch();
    const hasThread = io === 'thread';
    this.native = callNative(() =>
      native.openPort(onWake, events, slots, registers, hasThread, backend ?? ''),
    );
  }

  addPipe(pipe: PipeSink): void {
    this.pipes[pipe.handle & HANDLE_INDEX_MASK] = pipe;
    this.pipesOpened++;
  }

  /** Forgets a pipe whose last counters these are. */
  removePipe(pipe: PipeSink, counters: Counters): void {
    this.pipes[pipe.handle & HANDLE_INDEX_MASK] = undefined;
    this.pipesClosed++;
    addCounters(this.past, counters);
  }

  addListener(listener: ListenerSink): void {
    this.listeners[listener.handle & HANDLE_INDEX_MASK] = listener;
  }

  removeListener(listener: ListenerSink): void {
    this.listeners[listener.handle & HANDLE_INDEX_MASK] = undefined;
  }

  livePipes(): PipeSink[] {
    return this.pipes.filter((pipe) => pipe !== undefined);
  }

  liveListeners(): number {
    return this.listeners.reduce((n, listener) => n + (listener === undefined ? 0 : 1), 0);
  }

  /** One more (1) or one less (-1) resource keeps the event loop alive. */
  ref(change: 1 | -1): void {
    this.references += change;
    this.native.ref(this.references);
  }

  /** See {@link NativePort.receive}; keeps an active batch valid. */
  receive(
    handle: number,
    arena: Uint8Array,
    start: number,
    max: number,
    copyMax: number = SLICE_MAX,
  ): number {
    if (this.active !== null) this.active.detach();
    const { registers } = this;
    registers[0] = handle;
    registers[1] = start;
    registers[2] = max;
    registers[3] = copyMax;
    this.native.receive(arena);
    return registers[0];
  }

  /**
   * Lets the next {@link Port.receive} wait for a moment without sleeping, as an answer to what is
   * sent now may be about to come.
   */
  lookAhead(): void {
    this.flush();
    this.registers[AHEAD] = 1;
  }

  /** See {@link NativePort.submit}. */
  submit(handle: number, staging: Uint8Array, start: number, end: number): number {
    const { registers } = this;
    this.sends++;
    registers[0] = handle;
    registers[1] = start;
    registers[2] = end;
    this.native.submit(staging);
    return registers[0];
  }

  /** Reusable memory for one batch; {@link Port.leaveArena} ends the use. */
  enterArena(): Arena {
    const depth = this.depth++;
    const arena = this.arenas[depth];
    // Its length is 0 if a user has transferred the memory away.
    if (arena !== undefined && arena.bytes.length !== 0) return arena;
    const fresh = new Arena();
    this.arenas[depth] = fresh;
    return fresh;
  }

  leaveArena(): void {
    this.depth--;
  }

  /** Has `outbox` flushed at the end of this turn. */
  touch(outbox: Flushable): void {
    outbox.dirty = true;
    this.dirty[this.dirtyCount++] = outbox;
    if (this.collecting || this.scheduled) return;
    if (this.registers[CALLING] !== 0) {
      // Promises are being settled after a dispatch. The core asks again when that is over, which
      // is cheaper than a tick.
      this.registers[STAGED] = 1;
      return;
    }
    this.scheduled = true;
    process.nextTick(this.flushAtTick);
  }

  /** `outbox` has nothing staged any more. */
  untouch(outbox: Flushable): void {
    if (this.collecting || this.dirtyCount !== 1 || this.dirty[0] !== outbox) return;
    outbox.dirty = false;
    this.dirty[0] = null;
    this.dirtyCount = 0;
    this.registers[STAGED] = 0;
  }

  private readonly flushAtTick = (): void => {
    this.scheduled = false;
    this.flush();
  };

  /** Submits everything that is staged. */
  flush(): void {
    if (this.dirtyCount === 0) return;
    const { collecting } = this;
    this.collecting = true;
    const { dirty } = this;
    // Flushing may fail a pipe, whose users may send on other pipes, and may have all flushed again
    // from within: the list can grow, and can be done when `endTurn` returns.
    while (this.flushed < this.dirtyCount) {
      const outbox = dirty[this.flushed] as Flushable;
      dirty[this.flushed++] = null;
      outbox.dirty = false;
      outbox.endTurn();
    }
    this.flushed = 0;
    this.dirtyCount = 0;
    this.registers[STAGED] = 0;
    this.collecting = collecting;
  }

  /** The environment is about to end: what was accepted goes out, and no socket is left behind. */
  handleExit(): void {
    this.flush();
    for (const listener of this.listeners) {
      if (listener !== undefined) this.native.closeListener(listener.handle);
    }
  }

  private dispatch(): void {
    this.turns++;
    this.collecting = true;
    const events = this.events;
    const end = 4 * (this.registers[0] as number);
    for (let at = 0; at < end; at += 4) {
      try {
        this.deliver(events[at] as number, events[at + 1] as number, events[at + 2] as number);
      } catch (error) {
        rethrowLater(error);
      }
    }
    this.flush();
    this.collecting = false;
    this.registers[DISPATCHED] = 1;
  }

  private deliver(kind: number, handle: number, argument: number): void {
    if (kind === Event.Accepted || (kind >= Event.Warning && kind <= Event.Asking)) {
      this.deliverToListener(kind, handle, argument);
      return;
    }
    const pipe = this.pipes[handle & HANDLE_INDEX_MASK];
    // A pipe that was closed earlier in this turn may still be spoken of.
    if (pipe === undefined || pipe.handle !== handle) return;
    if (kind === Event.Readable) pipe.handleReadable();
    else if (kind === Event.Writable) pipe.handleWritable();
    else if (kind === Event.State) pipe.handleState(argument);
    else if (kind === Event.Closed) pipe.handleClosed();
    else if (kind === Event.Dropped) pipe.handleDropped();
    else if (kind === Event.DeliveryFailed) pipe.handleDeliveryFailed();
  }

  private deliverToListener(kind: number, handle: number, argument: number): void {
    const listener = this.listeners[handle & HANDLE_INDEX_MASK];
    if (listener === undefined || listener.handle !== handle) {
      if (kind === Event.Accepted) this.native.refuse(argument, 'the listener was closed');
      else if (kind === Event.Warning) this.native.takeWarning();
      return;
    }
    if (kind === Event.Accepted) listener.handleAccepted(argument);
    else if (kind === Event.Asking) listener.handleAsking(argument);
    else if (kind === Event.Warning) listener.handleWarning();
    else listener.handleClosed();
  }
}

/** Lets a user's exception be uncaught without cutting short what is going on. */
export function rethrowLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/** Most messages of one batch. */
export const BATCH_MAX = 4096;

/** Registers beside arguments and results. */
const CALLING = 4;
const STAGED = 5;
const AHEAD = 6;
const DISPATCHED = 7;

const EVENTS_MAX = 256;
