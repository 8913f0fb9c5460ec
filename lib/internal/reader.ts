/**
 * Takes messages out of the core as owned Buffers and loans.
 *
 * How many one native call fetches adapts: large payloads are copied as soon as they are fetched,
 * so while those come it is a few at a time.
 */

import type { Loan } from '../loan.js';
import type { BatchView } from './batch.js';
import { isLeased } from './binding.js';
import { CHUNK_BYTES, FastBuffer, sliceOf } from './chunk.js';
import { copyLarge, lendLarge } from './large.js';
import { LoanView } from './loan.js';
import { BATCH_MAX, type Port } from './port.js';
import { PREFETCH_MAX, Prefetch, ROOM_MIN } from './prefetch.js';
import type { Receipt, Receipts } from './receipts.js';
import type { Source } from './waiter.js';

/** What a reader needs of its pipe. */
export interface ReaderHost {
  readonly port: Port;
  readonly handle: number;
  /** Whether to wait without sleeping where an answer may come at once. */
  readonly spins: boolean;
  /** Names the messages of a reliable pipe. */
  readonly receipts: Receipts | null;
  /** So many messages were fetched from the core; below 0 if there was an error. */
  fetched(count: number): void;
  /** The pipe has ended and nothing is left in the core. */
  drained(): void;
}

export class Reader implements Source {
  /** Whether nothing more will arrive in the core. */
  isEnded = false;
  /** Whether nothing is left in the core, for good. */
  isEmpty = false;
  private readonly host: ReaderHost;
  private prefetch = new Prefetch();
  /** What was left in the core when the pipe ended, behind `prefetch`. */
  private readonly rest: Prefetch[] = [];
  /** Most messages to take at once. */
  private appetite: number;
  private readonly appetiteMax: number;
  /** Whether the core has said that there is nothing more, and nothing else since. */
  private isDry = false;
  /** Fetches since the core last called in. */
  private fetches = 0;
  /** Whether the last fetch got large payloads, which were copied. */
  private isCopying = false;
  private turn = 0;

  constructor(host: ReaderHost, isExact: boolean) {
    this.host = host;
    this.appetite = isExact ? 1 : APPETITE_MIN;
    this.appetiteMax = isExact ? 1 : BATCH_MAX;
  }

  get channel(): number {
    return this.prefetch.channel;
  }

  /** Messages that were fetched and that nobody has got yet, while the pipe is open. */
  get fetched(): number {
    return this.prefetch.length;
  }

  /** Whether there are any. */
  get hasFetched(): boolean {
    if (this.prefetch.length === 0) this.prefetch = this.rest.shift() ?? this.prefetch;
    return this.prefetch.length > 0;
  }

  /**
   * Whether to wait for the core's report instead of asking it: because it would most likely have
   * nothing, or because the event loop should get its turn. A pipe that spins is asked all the
   * same, and lets the core look ahead when it is.
   */
  shouldWait(): boolean {
    if (this.prefetch.length > 0 || this.isEnded) return false;
    const { port, spins } = this.host;
    if (this.fetches >= FETCHES_MAX && this.turn === port.turns) return true;
    if (!this.isDry) return false;
    if (!spins) return true;
    port.lookAhead();
    return false;
  }

  /** The core reports that there is something. */
  handleReadable(): void {
    this.isDry = false;
  }

  /** Of what was fetched and nobody has got yet up to `max` messages, as a batch. */
  takeFetched(max: number): BatchView {
    return this.prefetch.takeBatch(this.host.port, max, this.host.receipts);
  }

  /**
   * Takes over what is left in the core, as much as the pipe's limits allow, so that descriptors
   * and shared memory of a pipe that has ended do not wait for somebody to read it. The core has
   * the names of reliable messages, so those stay there; most often, nothing is left.
   */
  drain(): void {
    const { port, handle, receipts } = this.host;
    if (receipts !== null) {
      if (!this.hasFetched) this.refill();
      return;
    }
    while (!this.isEmpty) {
      const next = new Prefetch();
      const count = next.fill(port, handle, PREFETCH_MAX);
      this.host.fetched(count);
      if (count > 0) this.rest.push(next);
      else this.foundNothing();
    }
  }

  /** Nothing more is wanted. */
  discard(): void {
    this.isEmpty = true;
    this.prefetch.clear();
    this.rest.length = 0;
  }

  readMessage(): Buffer | null {
    if (!this.hasFetched && !this.refill()) return null;
    return this.prefetch.take();
  }

  putBack(): void {
    this.prefetch.putBack();
  }

  receipt(): Receipt | null {
    return this.receiptOn(this.prefetch.channel);
  }

  readLoan(): Loan | null {
    const isFetched = this.hasFetched;
    const loan = isFetched ? this.prefetch.takeLoan() : this.fetchLoan();
    if (loan !== null) loan.receipt = this.receiptOn(loan.channel);
    return loan;
  }

  readMessages(max: number): Buffer[] | null {
    if (this.hasFetched) return this.prefetch.takeMessages(max);
    if (this.isEmpty) return null;
    let messages = this.readChunk(max);
    if (messages.length === 0) {
      this.foundNothing();
      return null;
    }
    while (!this.isDry && !this.isCopying && messages.length < max) {
      messages = messages.concat(this.readChunk(max - messages.length));
    }
    return messages;
  }

  /** Fetches messages ahead; `false` if there are none. */
  private refill(): boolean {
    if (this.isEmpty) return false;
    const { port, handle } = this.host;
    const wanted = Math.min(this.appetite, PREFETCH_MAX);
    const count = this.prefetch.fill(port, handle, wanted);
    this.host.fetched(count);
    this.learn(count, wanted, this.prefetch.hasLarge);
    if (count === 0) this.foundNothing();
    return count > 0;
  }

  /** A native call gave nothing. */
  foundNothing(): void {
    if (!this.isEnded || this.isEmpty) return;
    this.isEmpty = true;
    this.host.drained();
  }

  /** The receipt of the message that was taken last, which came on `channel`. */
  private receiptOn(channel: number): Receipt | null {
    const { receipts } = this.host;
    return receipts && receipts.at(receipts.placeOf(this.prefetch.length), channel);
  }

  /** A loan straight from the core. */
  private fetchLoan(): LoanView | null {
    if (this.isEmpty) return null;
    const { port, handle } = this.host;
    const { chunk, slots } = port;
    chunk.ensure(ROOM_MIN);
    const count = port.receive(handle, chunk.bytes, chunk.used, 1, 0);
    this.host.fetched(count);
    if (count <= 0) {
      this.foundNothing();
      return null;
    }
    const offset = slots[0] as number;
    const length = slots[1] as number;
    const meta = slots[2] as number;
    if (isLeased(meta)) return lendLarge(port, offset, length, meta & 0xffff);
    const at = chunk.used + offset;
    chunk.used = (at + length + 7) & ~7;
    return new LoanView(sliceOf(chunk.memory, at, length), meta & 0xffff, null, 0);
  }

  /** What one native call gives. */
  private readChunk(max: number): Buffer[] {
    const { port, handle } = this.host;
    const { chunk, slots } = port;
    chunk.ensure(ROOM_MIN);
    const { memory, used: base } = chunk;
    // Whoever asks for many has them at once: there is nothing to be exact about.
    const wanted = Math.min(max, this.appetiteMax === 1 ? BATCH_MAX : this.appetite);
    const count = port.receive(handle, chunk.bytes, base, wanted);
    this.host.fetched(count);
    // As long as needed from the start: growing costs a quarter of making the slices.
    const messages = new Array<Buffer>(Math.max(count, 0));
    let end = base;
    let leased = false;
    for (let i = 0; i < count; i++) {
      if (isLeased(slots[3 * i + 2] as number)) {
        leased = true;
        continue;
      }
      const start = base + (slots[3 * i] as number);
      const length = slots[3 * i + 1] as number;
      messages[i] = new FastBuffer(memory, start, length);
      // Copies of large payloads lie behind the small ones, whatever their order.
      if (start + length > end) end = start + length;
    }
    chunk.used = (end + 7) & ~7;
    this.learn(count, wanted, leased);
    if (leased) this.copyLeased(messages);
    return messages;
  }

  /** Fills the places of large payloads. */
  private copyLeased(messages: Buffer[]): void {
    const { port } = this.host;
    const { slots } = port;
    for (let i = 0; i < messages.length; i++) {
      const meta = slots[3 * i + 2] as number;
      if (!isLeased(meta)) continue;
      messages[i] = copyLarge(port, slots[3 * i] as number, slots[3 * i + 1] as number, meta);
    }
  }

  private learn(count: number, wanted: number, large: boolean): void {
    const { port } = this.host;
    this.fetches = this.turn === port.turns ? this.fetches + 1 : 1;
    this.turn = port.turns;
    // Fewer than wanted, though there was room: that was all.
    this.isDry = count < wanted && CHUNK_BYTES - port.chunk.used >= ROOM_MIN;
    this.isCopying = large;
    if (large) this.appetite = Math.min(APPETITE_MIN, this.appetiteMax);
    else if (count === this.appetite) {
      this.appetite = Math.min(this.appetite * 8, this.appetiteMax);
    }
  }
}

const APPETITE_MIN = 8;

/** Fetches on behalf of a program that never lets the event loop turn. */
const FETCHES_MAX = 32;
