/** Messages that wait for the transport to have room. */

import type { Deadline } from './wait.js';

/** What can be sent. */
export type Sendable = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

/** One call of send(), sendBatch() or commit() that waits its turn. */
export class PendingSend {
  deadline: Deadline | null = null;
  /** Whether the core has been offered the first message, and may have sent a part of it. */
  begun = false;
  /** Messages before this one are sent. */
  index = 0;
  /** When it began to wait. */
  readonly since: number = performance.now();
  readonly messages: readonly (Sendable | Loaned)[];
  readonly channel: number;
  private readonly lengths: readonly number[];
  private readonly done: () => void;
  private readonly fail: (error: unknown) => void;

  constructor(
    messages: readonly (Sendable | Loaned)[],
    channel: number,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.messages = messages;
    this.channel = channel;
    this.lengths = messages.map(lengthOf);
    this.done = resolve;
    this.fail = reject;
  }

  /** Messages that are not sent yet. */
  get left(): number {
    return this.messages.length - this.index;
  }

  /** The message whose turn it is. */
  get head(): Sendable | Loaned {
    return this.messages[this.index] as Sendable | Loaned;
  }

  /** Whether the memory of the message whose turn it is was taken away while it waited. */
  get isDetached(): boolean {
    return lengthOf(this.head) !== this.lengths[this.index];
  }

  resolve(): void {
    this.deadline?.disarm();
    this.done();
  }

  reject(error: unknown): void {
    this.deadline?.disarm();
    for (const message of this.messages.slice(this.index)) {
      if (message instanceof Loaned) message.giveBack();
    }
    this.fail(error);
  }
}

/** A committed reservation of shared memory, sent by handing the memory over. */
export class Loaned {
  readonly id: number;
  readonly length: number;
  /** Its memory, which the core takes back once nothing refers to it any more. */
  readonly view: Uint8Array;
  /** Discards it, if it cannot be sent after all. */
  readonly giveBack: () => void;

  constructor(id: number, length: number, view: Uint8Array, giveBack: () => void) {
    this.id = id;
    this.length = length;
    this.view = view;
    this.giveBack = giveBack;
  }
}

function lengthOf(message: Sendable | Loaned): number {
  if (typeof message === 'string' || message instanceof Loaned) return message.length;
  try {
    return message.byteLength;
  } catch {
    // A DataView throws where other views say 0.
    return -1;
  }
}
