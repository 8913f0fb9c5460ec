/** The sending half of a reliable pipe: it is idle once the peer has acknowledged everything. */

import { WRITABLE } from './binding.js';
import { Outbox } from './outbox.js';
import type { BusbarError } from '../errors.js';

export class ReliableOutbox extends Outbox {
  /** Also has the core report Writable when everything is acknowledged, unless it is. */
  override get isIdle(): boolean {
    const { port, handle } = this.host;
    return super.isIdle && port.native.drain(handle) === 0;
  }

  override handleWritable(): void {
    super.handleWritable();
    if (this.onIdle !== null && !this.sender.isDead) this.host.want(WRITABLE);
  }

  override seal(error: BusbarError): void {
    super.seal(error);
    this.host.want(WRITABLE);
  }
}
