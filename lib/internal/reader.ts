/**
 * Takes messages out of the core as owned Buffers and loans.
 *
 * How many one native call fetches adapts: large payloads are copied as soon as they are fetched,
 * so while those come it is a few at a time.
 */

import type { Loan } from '../loan.js';
import type { BatchView } from './batch.js';
import { isLeased } from './binding.js';
import { CHUNK_BYTES, sliceOf } from './chunk.js';
import { copyLarge, lendLarge } from './large.js';
import { LoanView } from './loan.js';
import { BATCH_MAX, type Port } from './port.js';
import { Prefetch, ROOM_MIN } from './prefetch.js';
import type { Source } from './waiter.js';

/** What a reader needs of its pipe. */
export interface ReaderHost {
  readonly port: Port;
  readonly handle: number;
  /** The pipe has ended and nothing is left in the core. */
  drained(): void;
}

export class Reader implements Source {
  /** Whether nothing more will arrive in the core. */
  isEnded = false;
  /** Whether nothing is left in the core, for good. */
  isEmpty = false;
  private readonly host: ReaderHost;
  private readonly prefetch = new Prefetch();
  /** Most messages to take at once. */
  private appetite = APPETITE_MIN;

  constructor(host: ReaderHost) {
    this.host = host;
  }

  /** Whether messages were fetched that nobody has got yet. */
  get hasFetched(): boolean {
    return this.prefetch.length > 0;
  }

  /** What was fetched and nobody has got yet, as a batch. */
  takeFetched(): BatchView {
    return this.prefetch.takeBatch(this.host.port);
  }

  /** Nothing more is wanted. */
  discard(): void {
    this.isEmpty = true;
    this.prefetch.clear();
  }

  readMessage(): Buffer | null {
    if (this.prefetch.length === 0 && !this.refill()) return null;
    return this.prefetch.take();
  }

  readLoan(): Loan | null {
    if (this.prefetch.length > 0) return this.prefetch.takeLoan();
    if (this.isEmpty) return null;
    const { port, handle } = this.host;
    const { chunk, slots } = port;
    chunk.ensure(ROOM_MIN);
    if (port.receive(handle, chunk.bytes, chunk.used, 1, 0) <= 0) {
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

  readMessages(max: number): Buffer[] | null {
    const messages: Buffer[] = [];
    while (messages.length < max && this.prefetch.length > 0) messages.push(this.prefetch.take());
    if (messages.length === 0 && !this.isEmpty) {
      while (messages.length < max && this.readChunk(messages, max));
      if (messages.length === 0) this.foundNothing();
    }
    return messages.length > 0 ? messages : null;
  }

  /** Fetches messages ahead; `false` if there are none. */
  refill(): boolean {
    if (this.isEmpty) return false;
    const { port, handle } = this.host;
    const count = this.prefetch.fill(port, handle, this.appetite);
    this.learn(count, this.prefetch.hasLarge);
    if (count === 0) this.foundNothing();
    return count > 0;
  }

  /** A native call gave nothing. */
  foundNothing(): void {
    if (!this.isEnded || this.isEmpty) return;
    this.isEmpty = true;
    this.host.drained();
  }

  /** Adds what one native call gives; `true` if there may be more. */
  private readChunk(messages: Buffer[], max: number): boolean {
    const { port, handle } = this.host;
    const { chunk, slots } = port;
    chunk.ensure(ROOM_MIN);
    const { memory, used: base } = chunk;
    const wanted = Math.min(max - messages.length, this.appetite);
    const first = messages.length;
    const count = port.receive(handle, chunk.bytes, base, wanted);
    let end = base;
    let leased = false;
    for (let at = 0; at < 3 * count; at += 3) {
      if (isLeased(slots[at + 2] as number)) {
        leased = true;
        messages.push(NOTHING);
      } else {
        const start = base + (slots[at] as number);
        const length = slots[at + 1] as number;
        messages.push(sliceOf(memory, start, length));
        // Copies of large payloads lie behind the small ones, whatever their order.
        end = Math.max(end, start + length);
      }
    }
    chunk.used = (end + 7) & ~7;
    this.learn(count, leased);
    if (leased) {
      this.copyLeased(messages, first, count);
      return false;
    }
    // Fewer than wanted, though there was room: that was all.
    return count > 0 && (count === wanted || CHUNK_BYTES - chunk.used < ROOM_MIN);
  }

  private copyLeased(messages: Buffer[], first: number, count: number): void {
    const { port } = this.host;
    const { slots } = port;
    for (let i = 0; i < count; i++) {
      if (!isLeased(slots[3 * i + 2] as number)) continue;
      const [index, length] = [slots[3 * i] as number, slots[3 * i + 1] as number];
      messages[first + i] = copyLarge(port, index, length, slots[3 * i + 2] as number);
    }
  }

  private learn(count: number, large: boolean): void {
    if (large) this.appetite = APPETITE_MIN;
    else if (count === this.appetite) this.appetite = Math.min(this.appetite * 8, BATCH_MAX);
  }
}

const APPETITE_MIN = 8;

/** Holds the place of a large payload until it is copied. */
const NOTHING = Buffer.alloc(0);
