/** Loans as they are: a leased payload of the peer, or a copy that behaves like one. */

import { BusbarError } from '../errors.js';
import type { Loan } from '../loan.js';
import type { NativePort } from './binding.js';
import type { Receipt } from './receipts.js';

export class LoanView implements Loan {
  readonly channel: number;
  receipt: Receipt | null = null;
  private view: Buffer | null;
  private readonly native: NativePort | null;
  private readonly lease: number;

  /** `native` is null where the bytes are a copy, `lease` is of no meaning then. */
  constructor(bytes: Buffer, channel: number, native: NativePort | null, lease: number) {
    this.view = bytes;
    this.channel = channel;
    this.native = native;
    this.lease = lease;
  }

  get bytes(): Buffer {
    if (this.view !== null) return this.view;
    const message = 'the loan was already given back; copy bytes before release()';
    throw new BusbarError('ERR_LOAN_EXPIRED', message);
  }

  get id(): string | null {
    return this.receipt === null ? null : this.receipt.id;
  }

  ack(): void {
    this.receipt?.ack();
  }

  release(): void {
    if (this.view === null) return;
    this.view = null;
    this.native?.release(this.lease);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
