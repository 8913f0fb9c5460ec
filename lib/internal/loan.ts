/** Loans as they are: a leased payload of the peer, or a copy that behaves like one. */

import { BusbarError } from '../errors.js';
import type { Loan } from '../loan.js';
import type { NativePort } from './binding.js';

export class LoanView implements Loan {
  readonly channel: number;
  private view: Buffer | null;
  private readonly native: NativePort | null;
  private readonly id: number;

  /** `native` is null where the bytes are a copy, `id` is of no meaning then. */
  constructor(bytes: Buffer, channel: number, native: NativePort | null, id: number) {
    this.view = bytes;
    this.channel = channel;
    this.native = native;
    this.id = id;
  }

  get bytes(): Buffer {
    if (this.view !== null) return this.view;
    const message = 'the loan was already given back; copy bytes before release()';
    throw new BusbarError('ERR_LOAN_EXPIRED', message);
  }

  release(): void {
    if (this.view === null) return;
    this.view = null;
    this.native?.release(this.id);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
