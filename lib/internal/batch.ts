/** Batches as they are: slots over an arena, and the large payloads that were looked at. */

import type { Batch } from '../batch.js';
import { BusbarError, invalidArgument, show } from '../errors.js';
import type { Loan } from '../loan.js';
import type { Arena } from './arena.js';
import { isLeased } from './binding.js';
import { viewLarge } from './large.js';
import { LoanView } from './loan.js';
import type { Port } from './port.js';
import type { Receipt, Receipts } from './receipts.js';

/** What a batch lies in. */
export type BatchMemory = Pick<Arena, 'bytes' | 'view'>;

export class BatchView implements Batch {
  /** -1 when the batch has expired. */
  private count: number;
  private slots: Uint32Array;
  private readonly port: Port;
  private readonly memory: BatchMemory;
  private large: Map<number, LoanView> | null;
  /** Those of `large` that outlive this batch. */
  private taken: Set<LoanView> | null = null;
  /** What names the messages of a reliable pipe, and the place of the first. */
  private readonly receipts: Receipts | null;
  private readonly base: number;

  /** `large` are payloads that were fetched before, as were so many messages `behind` it. */
  constructor(
    port: Port,
    memory: BatchMemory,
    slots: Uint32Array,
    count: number,
    large: Map<number, LoanView> | null,
    receipts: Receipts | null,
    behind = 0,
  ) {
    this.port = port;
    this.memory = memory;
    this.slots = slots;
    this.count = count;
    this.large = large;
    this.receipts = receipts;
    this.base = receipts === null ? 0 : receipts.placeOf(behind + count - 1);
  }

  get length(): number {
    if (this.count < 0) throw this.refusal(0);
    return this.count;
  }

  get bytes(): Buffer {
    if (this.count < 0) throw this.refusal(0);
    return this.memory.bytes;
  }

  offset(i: number): number {
    if (i >>> 0 !== i || i >= this.count) throw this.refusal(i);
    const slots = this.slots;
    return isLeased(slots[3 * i + 2] as number) ? -1 : (slots[3 * i] as number);
  }

  size(i: number): number {
    if (i >>> 0 !== i || i >= this.count) throw this.refusal(i);
    return this.slots[3 * i + 1] as number;
  }

  channel(i: number): number {
    if (i >>> 0 !== i || i >= this.count) throw this.refusal(i);
    return (this.slots[3 * i + 2] as number) & 0xffff;
  }

  id(i: number): string | null {
    return this.receipt(i)?.id ?? null;
  }

  ack(i: number): void {
    if (i >>> 0 !== i || i >= this.count) throw this.refusal(i);
    this.receipts?.ack(this.base + i);
  }

  at(i: number): Buffer {
    if (i >>> 0 !== i || i >= this.count) throw this.refusal(i);
    const slots = this.slots;
    if (isLeased(slots[3 * i + 2] as number)) return this.fetch(i).bytes;
    return this.memory.view(i, slots[3 * i] as number, slots[3 * i + 1] as number);
  }

  take(i: number): Loan {
    if (i >>> 0 !== i || i >= this.count) throw this.refusal(i);
    if (!isLeased(this.slots[3 * i + 2] as number)) {
      const copy = this.port.chunk.allocate(this.size(i));
      copy.set(this.at(i));
      const kept = new LoanView(copy, this.channel(i), null, 0);
      kept.receipt = this.receipt(i);
      return kept;
    }
    const loan = this.fetch(i);
    loan.receipt = this.receipt(i);
    this.taken ??= new Set();
    this.taken.add(loan);
    return loan;
  }

  [Symbol.iterator](): Iterator<Buffer> {
    return new BatchIterator(this);
  }

  /** The slots and leases are about to be overwritten: keeps what belongs to this batch. */
  detach(): void {
    this.port.active = null;
    this.slots = this.slots.slice(0, 3 * this.count);
    for (let i = 0; i < this.count; i++) {
      if (isLeased(this.slots[3 * i + 2] as number)) this.fetch(i);
    }
  }

  /** The callback has returned. */
  expire(): void {
    this.count = -1;
    if (this.port.active === this) this.port.active = null;
    if (this.large === null) return;
    for (const loan of this.large.values()) {
      if (this.taken?.has(loan) !== true) loan.release();
    }
    this.large = null;
  }

  private receipt(i: number): Receipt | null {
    const channel = this.channel(i);
    return this.receipts === null ? null : this.receipts.at(this.base + i, channel);
  }

  private fetch(i: number): LoanView {
    this.large ??= new Map();
    let loan = this.large.get(i);
    if (loan === undefined) {
      const slots = this.slots;
      const [index, length] = [slots[3 * i] as number, slots[3 * i + 1] as number];
      loan = viewLarge(this.port, index, length, (slots[3 * i + 2] as number) & 0xffff);
      this.large.set(i, loan);
    }
    return loan;
  }

  private refusal(i: number): BusbarError {
    if (this.count >= 0) {
      return invalidArgument(`message ${show(i)} of a batch of ${this.count} does not exist`);
    }
    const message =
      'the batch was used after its callback returned; copy what must outlive it, or use batches()';
    return new BusbarError('ERR_BATCH_EXPIRED', message);
  }
}

class BatchIterator implements IterableIterator<Buffer> {
  private index = 0;
  private readonly batch: Batch;

  constructor(batch: Batch) {
    this.batch = batch;
  }

  next(): IteratorResult<Buffer> {
    if (this.index >= this.batch.length) return { done: true, value: undefined };
    return { done: false, value: this.batch.at(this.index++) };
  }

  [Symbol.iterator](): this {
    return this;
  }
}
