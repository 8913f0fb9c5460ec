/** Messages as they are, and the form in which readers ask for them. */

import type { Message } from '../message.js';
import type { Receipt } from './receipts.js';
import type { Grade } from './waiter.js';

export class MessageView<T> implements Message<T> {
  readonly data: T;
  readonly channel: number;
  private readonly receipt: Receipt | null;

  constructor(data: T, channel: number, receipt: Receipt | null) {
    this.data = data;
    this.channel = channel;
    this.receipt = receipt;
  }

  get id(): string | null {
    return this.receipt === null ? null : this.receipt.id;
  }

  ack(): void {
    this.receipt?.ack();
  }
}

/** One message, owned, with all that is known of it. */
export const NAMED: Grade<Message> = {
  what: 'receiveMessage()',
  acknowledges: true,
  read(source) {
    const data = source.readMessage();
    return data === null ? null : new MessageView(data, source.channel, source.receipt());
  },
};
