/**
 * Messages that one native call took out of a pipe for calls that want one at a time. Their small
 * payloads lie in a chunk already; a Buffer over each is made when it is asked for.
 */

import { BatchView, type BatchMemory } from './batch.js';
import { isLeased } from './binding.js';
import { FastBuffer, sliceOf, transferred } from './chunk.js';
import { copyLarge } from './large.js';
import { LoanView } from './loan.js';
import type { Port } from './port.js';
import type { Receipts } from './receipts.js';

export class Prefetch {
  private slots: Uint32Array | null = null;
  private bytes: Buffer = Buffer.alloc(0);
  /** That of `bytes`: asking a Buffer for it costs as much as making one. */
  private memory: ArrayBuffer = new ArrayBuffer(0);
  private head = 0;
  private count = 0;
  private large: Map<number, LoanView> | null = null;
  /** The large payload that was taken last. */
  private last: LoanView | null = null;

  /** The channel of the message that was taken last. */
  get channel(): number {
    return ((this.slots?.[3 * (this.head - 1) + 2] ?? 0) as number) & 0xffff;
  }

  get length(): number {
    return this.count - this.head;
  }

  /** Whether the last {@link Prefetch.fill} got a large payload. */
  get hasLarge(): boolean {
    return this.large !== null;
  }

  /** Takes up to `max` messages (at most PREFETCH_MAX) from the pipe; only when empty. */
  fill(port: Port, handle: number, max: number): number {
    const chunk = port.chunk;
    chunk.ensure(ROOM_MIN);
    const base = chunk.used;
    this.head = 0;
    this.count = 0;
    this.large = null;
    const count = port.receive(handle, chunk.bytes, base, max);
    if (count <= 0) return 0;
    this.bytes = chunk.bytes;
    this.memory = chunk.memory;
    const slots = this.slotsFor(count);
    let leased = false;
    for (let at = 0; at < 3 * count; at += 3) {
      const offset = port.slots[at] as number;
      const length = port.slots[at + 1] as number;
      const meta = port.slots[at + 2] as number;
      slots[at + 1] = length;
      slots[at + 2] = meta;
      if (isLeased(meta)) {
        leased = true;
        slots[at] = offset;
      } else {
        slots[at] = base + offset;
        chunk.used = Math.max(chunk.used, (base + offset + length + 7) & ~7);
      }
    }
    if (leased) this.copyLeased(port, slots, count);
    this.count = count;
    return count;
  }

  /** The next message; only when there is one. */
  take(): Buffer {
    const slots = this.slots as Uint32Array;
    const i = this.head++;
    if (isLeased(slots[3 * i + 2] as number)) return (this.last = this.takeLarge(i)).bytes;
    // Its length is 0 if a user has transferred the memory away.
    if (this.bytes.length === 0) throw transferred();
    return new FastBuffer(this.memory, slots[3 * i] as number, slots[3 * i + 1] as number);
  }

  /** Puts the message back that was taken last. */
  putBack(): void {
    this.head--;
    if (isLeased((this.slots as Uint32Array)[3 * this.head + 2] as number)) {
      this.large?.set(this.head, this.last as LoanView);
    }
  }

  /** The next messages, at most `max`. */
  takeMessages(max: number): Buffer[] {
    return Array.from({ length: Math.min(max, this.length) }, () => this.take());
  }

  /** The next message as a loan; only when there is one. */
  takeLoan(): LoanView {
    const meta = (this.slots as Uint32Array)[3 * this.head + 2] as number;
    return new LoanView(this.take(), meta & 0xffff, null, 0);
  }

  /** The next messages, at most `max`, as a batch. */
  takeBatch(port: Port, max: number, receipts: Receipts | null): BatchView {
    const { head, large } = this;
    const count = Math.min(max, this.length);
    const slots = (this.slots as Uint32Array).slice(3 * head, 3 * (head + count));
    let moved: Map<number, LoanView> | null = null;
    if (large !== null) {
      moved = new Map();
      for (const [i, loan] of large) {
        if (i < head + count && large.delete(i)) moved.set(i - head, loan);
      }
    }
    this.head += count;
    const memory = viewsOf(this.bytes, this.memory);
    return new BatchView(port, memory, slots, count, moved, receipts, this.length);
  }

  clear(): void {
    this.head = this.count;
    this.large = null;
  }

  /** Room for `count` messages, little more than was needed so far: most pipes are mostly idle. */
  private slotsFor(count: number): Uint32Array {
    if (this.slots === null || this.slots.length < 3 * count) {
      this.slots = new Uint32Array(3 * Math.max(SLOTS_MIN, Math.min(2 * count, PREFETCH_MAX)));
    }
    return this.slots;
  }

  private copyLeased(port: Port, slots: Uint32Array, count: number): void {
    const large = new Map<number, LoanView>();
    for (let i = 0; i < count; i++) {
      const meta = slots[3 * i + 2] as number;
      if (!isLeased(meta)) continue;
      const copy = copyLarge(port, slots[3 * i] as number, slots[3 * i + 1] as number, meta);
      large.set(i, new LoanView(copy, meta & 0xffff, null, 0));
    }
    this.large = large;
  }

  private takeLarge(i: number): LoanView {
    const loan = this.large?.get(i) as LoanView;
    this.large?.delete(i);
    return loan;
  }
}

/** A chunk, as the memory of a batch. */
function viewsOf(bytes: Buffer, memory: ArrayBuffer): BatchMemory {
  return { bytes, view: (_, offset, length) => sliceOf(memory, offset, length) };
}

/** Less room than this is not worth a native call. Above what a small message needs. */
export const ROOM_MIN: number = 4 * 1024;

/** Messages that there is room for at first. */
const SLOTS_MIN = 4;

/** Most messages that are fetched at once. */
export const PREFETCH_MAX = 512;
