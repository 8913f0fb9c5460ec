/**
 * The sending half of a reliable pipe: it is idle once the peer has acknowledged everything, or
 * never will, because both ends are being closed.
 */

import { WRITABLE } from './binding.js';
import { Outbox } from './outbox.js';
import type { BusbarError } from '../errors.js';

export class ReliableOutbox extends Outbox {
  /** Also has the core report Writable when everything is acknowledged, unless it is. */
  override get isIdle(): boolean {
    const { port, handle } = this.host;
    const waiting = port.native.drain(handle);
    return waiting < 0 || (super.isIdle && waiting === 0);
  }

  override handleWritable(): void {
    super.handleWritable();
    if (this.onIdle === null || this.sender.isDead) return;
    if (this.isIdle) this.onIdle();
    else this.host.want(WRITABLE);
  }

  override seal(error: BusbarError): void {
    super.seal(error);
    this.host.want(WRITABLE);
  }
}
