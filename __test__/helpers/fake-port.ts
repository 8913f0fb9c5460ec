/**
 * A native core in memory, for tests of the TypeScript layer alone: pairs of pipes with bounded
 * rings and slabs, whose events come when a test calls `turn()`.
 *
 * It is strict where the real core may rely on the layer: records are checked, a large message that
 * was begun must be offered again unchanged or abandoned, and handles are never reused silently.
 */

import { markAsUntransferable } from 'node:worker_threads';

import { CODES, type ErrorCode } from '../../lib/codes.js';
import {
  Event,
  HANDLE_INDEX_MASK,
  LEASED,
  READABLE,
  WRITABLE,
  type Native,
  type NativePipeOptions,
  type NativePort,
  type NativeReason,
} from '../../lib/internal/binding.js';
import { PipeCore } from '../../lib/internal/core.js';
import { Port } from '../../lib/internal/port.js';
import { HEADER_BYTES, INLINE_MAX, recordBytes } from '../../lib/internal/record.js';
import { pipeSettings, type PipeOptions } from '../../lib/options.js';
import { Pipe } from '../../lib/pipe.js';
import { STATS } from '../../lib/stats.js';

interface FakeMessage {
  channel: number;
  bytes: Uint8Array;
  /** Whether it travels as a large payload. */
  large: boolean;
}

interface FakePipe {
  handle: number;
  peer: FakePipe | null;
  options: NativePipeOptions;
  ring: FakeMessage[];
  ringBytes: number;
  interest: number;
  begun: Uint8Array | null;
  /** Bytes of the small message, or `large`, that was refused last. */
  refused: number | 'large';
  reason: NativeReason | null;
  announced: boolean;
  stats: number[];
}

/** How small the fake's memory is. */
export interface FakeLimits {
  /** Bytes of records per direction. */
  readonly ringBytes?: number;
  /** Large messages per direction. */
  readonly slabMessages?: number;
}

/** The process-wide side of a {@link FakePort}. */
export class FakePort implements NativePort {
  readonly calls: Record<string, number> = {};
  readonly refs: number[] = [];
  readonly interests: number[] = [];
  readonly closed: { handle: number; status: number; text: string; lingerMs: number }[] = [];
  readonly abandoned: number[] = [];
  flushes = 0;
  readonly released: number[] = [];
  readonly discarded: number[] = [];
  /** What the next submit() returns instead of doing anything. */
  submitResult: number | null = null;
  /** Whether loan() has memory. */
  lends = true;
  /** Whether dial() connects at once. */
  answers = true;
  readonly warnings: { code: string; message: string }[] = [];

  private readonly pipes: (FakePipe | undefined)[] = [];
  private readonly names = new Map<string, number>();
  private readonly loans = new Map<number, ArrayBuffer>();
  private readonly pending: number[][] = [];
  private leases: FakeMessage[] = [];
  private generation = 0;
  private last = 0;
  private readonly limits: Required<FakeLimits>;
  private onWake: () => void = () => {};
  private events: Uint32Array = new Uint32Array(0);
  private slots: Uint32Array = new Uint32Array(0);
  private registers: Int32Array = new Int32Array(0);

  constructor(limits: FakeLimits = {}) {
    this.limits = { ringBytes: 4096, slabMessages: 2, ...limits };
  }

  /** As the addon's `native`. */
  asNative(): Pick<Native, 'openPort'> {
    return {
      openPort: (onWake, events, slots, registers) => {
        [this.onWake, this.events, this.slots] = [onWake, events, slots];
        this.registers = registers;
        return this;
      },
    };
  }

  /** Reports what has happened; `false` if nothing has. */
  turn(): boolean {
    const entries = this.pending.splice(0);
    for (const pipe of this.pipes) {
      if (pipe === undefined) continue;
      if (pipe.reason !== null && !pipe.announced) {
        pipe.announced = true;
        entries.push([Event.Closed, pipe.handle, 0]);
      }
      if ((pipe.interest & READABLE) !== 0 && pipe.ring.length > 0) {
        entries.push([Event.Readable, pipe.handle, 0]);
      }
      if ((pipe.interest & WRITABLE) !== 0 && this.hasRoom(pipe)) {
        entries.push([Event.Writable, pipe.handle, 0]);
      }
    }
    entries.forEach((entry, i) => this.events.set(entry, 4 * i));
    if (entries.length === 0) return false;
    this.registers[0] = entries.length;
    this.onWake();
    return true;
  }

  /** Takes turns until nothing happens any more. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 2;) {
      await new Promise((resolve) => setImmediate(resolve));
      idle = this.turn() ? 0 : idle + 1;
    }
  }

  /** Two connected pipes, as handles. */
  pair(options: NativePipeOptions): [number, number] {
    const [a, b] = [this.create(options), this.create(options)];
    [a.peer, b.peer] = [b, a];
    return [a.handle, b.handle];
  }

  /** Ends a pipe as a crash of its peer would. */
  lose(handle: number): void {
    const message = 'the peer died';
    const pipe = this.find(handle) as FakePipe;
    pipe.reason = { code: 'ERR_CONNECTION_LOST', message, status: 0, clean: false };
    if (pipe.peer !== null) pipe.peer.peer = null;
    pipe.peer = null;
  }

  /** What lies in the ring towards a pipe, as text. */
  inFlight(handle: number): string[] {
    return (this.find(handle) as FakePipe).ring.map(({ bytes }) => Buffer.from(bytes).toString());
  }

  emit(kind: number, handle: number, argument = 0): void {
    this.pending.push([kind, handle, argument]);
  }

  listen(address: string): number {
    if (this.names.has(address)) throw { code: 'ERR_ADDR_IN_USE', message: `${address} is taken` };
    this.names.set(address, this.names.size + 1);
    return this.names.size;
  }

  closeListener(listener: number): void {
    for (const [name, handle] of this.names) if (handle === listener) this.names.delete(name);
  }

  dial(_address: string, options: NativePipeOptions): number {
    const [handle] = this.pair(options);
    if (this.answers) this.emit(Event.State, handle, 1);
    return handle;
  }

  close(handle: number, status: number, text: string, lingerMs: number): number {
    const pipe = this.find(handle);
    if (pipe === undefined) throw { code: 'ERR_CLOSED', message: 'no such pipe' };
    this.closed.push({ handle, status, text, lingerMs });
    this.pipes[handle & HANDLE_INDEX_MASK] = undefined;
    if (pipe.peer === null) return 0;
    pipe.peer.reason = { code: 'ERR_CLOSED', message: text, status, clean: true };
    pipe.peer.peer = null;
    return 0;
  }

  takeReason(handle: number): NativeReason {
    const { reason } = this.find(handle) as FakePipe;
    return reason ?? { code: 'ERR_CLOSED', message: '', status: 0, clean: true };
  }

  takeWarning(): { code: string; message: string } | null {
    return this.warnings.shift() ?? null;
  }

  listenerAddress(listener: number): string {
    return [...this.names].find(([, handle]) => handle === listener)?.[0] ?? '';
  }

  peer(): { pid: number; uid: number; gid: number } {
    return { pid: 4711, uid: 1000, gid: 1000 };
  }

  messageBytesMax(): number {
    return 0;
  }

  stats(handle: number, out: Float64Array): void {
    out.set((this.find(handle) as FakePipe).stats);
  }

  ref(count: number): void {
    this.refs.push(count);
  }

  backend(): string {
    return 'poll';
  }

  wakeKind(): string {
    return 'uv_poll';
  }

  interest(handle: number, bits: number): number {
    const pipe = this.find(handle);
    if (pipe === undefined) return failure('ERR_CLOSED');
    this.interests.push(bits);
    pipe.interest = bits;
    return 0;
  }

  submit(staging: Uint8Array): void {
    const [handle = 0, start = 0, end = 0] = this.registers;
    this.registers[0] = this.takeRecords(handle, staging, start, end);
  }

  private takeRecords(handle: number, staging: Uint8Array, start: number, end: number): number {
    this.count('submit');
    if (this.submitResult !== null) return this.submitResult;
    const pipe = this.find(handle);
    if (pipe === undefined || pipe.peer === null) return failure('ERR_CLOSED');
    const words = new Uint32Array(staging.buffer, staging.byteOffset);
    let at = start;
    while (at < end) {
      const [length, meta] = [words[at >> 2] as number, words[(at >> 2) + 1] as number];
      const next = at + recordBytes(length);
      const isValid = length <= INLINE_MAX && meta <= 0xffff && next <= end;
      if (!isValid) return failure('ERR_INVALID_ARGUMENT');
      if (!this.room(pipe.peer, recordBytes(length))) {
        pipe.refused = recordBytes(length);
        break;
      }
      const from = at + HEADER_BYTES;
      const bytes = copy(staging.subarray(from, from + length));
      this.push(pipe, { channel: meta, bytes, large: false });
      at = next;
    }
    return at - start;
  }

  send(handle: number, channel: number, bytes: Uint8Array): number {
    this.count('send');
    const pipe = this.find(handle);
    if (pipe === undefined || pipe.peer === null) return failure('ERR_CLOSED');
    if (pipe.begun !== null && pipe.begun !== bytes) throw new Error('not what was begun');
    pipe.begun = null;
    if (bytes.length > pipe.options.maxMessageBytes) return failure('ERR_MESSAGE_TOO_LARGE');
    if (this.largeIn(pipe.peer) >= this.limits.slabMessages) {
      pipe.begun = bytes;
      pipe.refused = 'large';
      return 0;
    }
    this.push(pipe, { channel, bytes: copy(bytes), large: true });
    return 1;
  }

  connectionId(): string | null {
    return null;
  }

  processed(): number {
    return 0;
  }

  acknowledge(): number {
    return 0;
  }

  seqOf(): number {
    return -1;
  }

  sessionOf(): null {
    return null;
  }

  takeAnnouncement(): Buffer | null {
    return null;
  }

  shape(): void {
    throw new Error('the fake has no queues');
  }

  shapeListener(): void {
    throw new Error('the fake has no queues');
  }

  drain(): number {
    return 0;
  }

  stopReceiving(): void {
    throw new Error('the fake has no sessions');
  }

  sendWith(): number {
    throw new Error('the fake has no queues');
  }

  admit(): void {
    throw new Error('the fake asks nobody');
  }

  setCredentials(): void {
    throw new Error('the fake has no credentials');
  }

  refuse(handle: number, text: string): void {
    this.close(handle, 0, text, 0);
  }

  flush(): void {
    this.flushes++;
  }

  abandon(handle: number): boolean {
    this.abandoned.push(handle);
    const pipe = this.find(handle) as FakePipe;
    [pipe.begun, pipe.refused] = [null, 0];
    return false;
  }

  loan(handle: number, length: number): ArrayBuffer | null | number {
    if (this.find(handle)?.peer === null) return failure('ERR_CLOSED');
    if (!this.lends) return null;
    this.loans.set(++this.last, new ArrayBuffer(length));
    return this.loans.get(this.last) as ArrayBuffer;
  }

  lastId(): number {
    return this.last;
  }

  commit(handle: number, loan: number, channel: number, length: number): number {
    const pipe = this.find(handle);
    const memory = this.loans.get(loan);
    if (pipe === undefined || pipe.peer === null) return failure('ERR_CLOSED');
    if (memory === undefined) return failure('ERR_LOAN_EXPIRED');
    if (this.largeIn(pipe.peer) >= this.limits.slabMessages) {
      pipe.refused = 'large';
      return 0;
    }
    this.push(pipe, { channel, bytes: copy(new Uint8Array(memory, 0, length)), large: true });
    this.loans.delete(loan);
    detach(memory);
    return 1;
  }

  discard(loan: number): void {
    this.discarded.push(loan);
    this.loans.delete(loan);
  }

  receive(arena: Uint8Array): void {
    const [handle = 0, start = 0, max = 0] = this.registers;
    this.registers[0] = this.giveMessages(handle, arena, start, max);
  }

  private giveMessages(handle: number, arena: Uint8Array, start: number, max: number): number {
    this.count('receive');
    if (arena.length === 0) throw new Error('the arena is detached');
    this.leases = [];
    const pipe = this.find(handle);
    if (pipe === undefined) return failure('ERR_CLOSED');
    let [used, count] = [0, 0];
    for (; count < max && pipe.ring.length > 0; count++) {
      const message = pipe.ring[0] as FakeMessage;
      const { bytes, channel, large } = message;
      if (!large && start + used + bytes.length > arena.length) break;
      if (large) {
        this.slots.set([this.leases.push(message) - 1, bytes.length], 3 * count);
      } else {
        arena.set(bytes, start + used);
        this.slots.set([used, bytes.length], 3 * count);
        used = (used + bytes.length + 7) & ~7;
        pipe.ringBytes -= recordBytes(bytes.length);
      }
      this.slots[3 * count + 2] = large ? channel | LEASED : channel;
      pipe.ring.shift();
      pipe.stats[2] = (pipe.stats[2] ?? 0) + 1;
    }
    return count;
  }

  copyLease(index: number, target: Uint8Array): number {
    const message = this.leases[index];
    if (message === undefined) return failure('ERR_LOAN_EXPIRED');
    target.set(message.bytes);
    return 0;
  }

  lease(index: number): ArrayBuffer | number {
    const message = this.leases[index];
    if (message === undefined) return failure('ERR_LOAN_EXPIRED');
    const memory = copy(message.bytes).buffer;
    this.loans.set(++this.last, memory);
    return memory;
  }

  release(lease: number): void {
    this.released.push(lease);
    detach(this.loans.get(lease) as ArrayBuffer);
    this.loans.delete(lease);
  }

  private create(options: NativePipeOptions): FakePipe {
    const handle = (++this.generation << 18) | this.pipes.length;
    const pipe: FakePipe = {
      handle,
      peer: null,
      options,
      ring: [],
      ringBytes: 0,
      interest: 0,
      begun: null,
      refused: 0,
      reason: null,
      announced: false,
      stats: STATS.map(() => 0),
    };
    this.pipes.push(pipe);
    return pipe;
  }

  private find(handle: number): FakePipe | undefined {
    const pipe = this.pipes[handle & HANDLE_INDEX_MASK];
    return pipe?.handle === handle ? pipe : undefined;
  }

  private push(from: FakePipe, message: FakeMessage): void {
    const to = from.peer as FakePipe;
    to.ring.push(message);
    if (!message.large) to.ringBytes += recordBytes(message.bytes.length);
    from.stats[0] = (from.stats[0] ?? 0) + 1;
    from.stats[1] = (from.stats[1] ?? 0) + message.bytes.length;
  }

  private hasRoom({ peer, reason, refused }: FakePipe): boolean {
    if (peer === null || reason !== null) return false;
    if (refused === 'large') return this.largeIn(peer) < this.limits.slabMessages;
    return this.room(peer, refused);
  }

  private room(to: FakePipe, bytes: number): boolean {
    return to.ringBytes + bytes <= this.limits.ringBytes;
  }

  private largeIn(to: FakePipe): number {
    return to.ring.filter(({ large }) => large).length;
  }

  private count(call: string): void {
    this.calls[call] = (this.calls[call] ?? 0) + 1;
  }
}

/** A fake core, the port over it, and two pipes that are connected to each other. */
export interface Bench {
  readonly fake: FakePort;
  readonly port: Port;
  readonly client: Pipe;
  readonly server: Pipe;
  readonly clientHandle: number;
  readonly serverHandle: number;
}

/** Sets up a {@link Bench}. */
export function bench(limits: FakeLimits = {}, options: PipeOptions = {}): Bench {
  const fake = new FakePort(limits);
  const port = new Port(fake.asNative());
  const settings = pipeSettings(options);
  const [clientHandle, serverHandle] = fake.pair(settings.native);
  const pipeOf = (handle: number): Pipe =>
    new Pipe(new PipeCore(port, handle, 'inproc://fake', settings, 'CONNECTED'));
  const [client, server] = [pipeOf(clientHandle), pipeOf(serverHandle)];
  return { fake, port, client, server, clientHandle, serverHandle };
}

/** Takes the memory away from under its views, even if it is confined. */
export function detach(memory: ArrayBufferLike): void {
  const { transfer } = ArrayBuffer.prototype as { transfer?: () => void };
  if (transfer !== undefined) transfer.call(memory);
  else structuredClone(memory, { transfer: [memory as ArrayBuffer] });
}

/** Whether a program can take away memory that is marked untransferable. */
export const canDetachMarked: boolean = detachesMarked();

function detachesMarked(): boolean {
  const memory = new ArrayBuffer(8);
  markAsUntransferable(memory);
  try {
    detach(memory);
  } catch {
    // Node 20 and 24 refuse; 22 does not.
  }
  return memory.byteLength === 0;
}

function copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

function failure(code: ErrorCode): number {
  return -CODES[code].number;
}
