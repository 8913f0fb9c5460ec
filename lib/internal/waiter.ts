/** Somebody who waits for messages, and in which form they are wanted. */

import type { Loan } from '../loan.js';
import type { Receipt } from './receipts.js';
import type { Deadline } from './wait.js';

/** Where messages come from. */
export interface Source {
  /** The channel of the message that was read last, by itself. */
  readonly channel: number;
  readMessage(): Buffer | null;
  /** Puts the message back that {@link Source.readMessage} gave last; once. */
  putBack(): void;
  readMessages(max: number): Buffer[] | null;
  readLoan(): Loan | null;
  /** The receipt of the message that was read last, by itself; `null` outside a session. */
  receipt(): Receipt | null;
}

/** A form in which messages are wanted: `read` gives the next one, or null. */
export interface Grade<T> {
  readonly what: string;
  /** Whether the program can say of what it gets that it is done with it. */
  readonly acknowledges?: boolean;
  read(source: Source): T | null;
}

/** One message, owned. */
export const MESSAGE: Grade<Buffer> = {
  what: 'receive()',
  read: (source) => source.readMessage(),
};

/** One message, on loan. */
export const LOAN: Grade<Loan> = {
  what: 'borrow()',
  acknowledges: true,
  read: (source) => source.readLoan(),
};

/** Several messages, owned. */
export class Messages implements Grade<Buffer[]> {
  readonly what = 'receiveBatch()';
  private readonly max: number;

  constructor(max: number) {
    this.max = max;
  }

  read(source: Source): Buffer[] | null {
    return source.readMessages(this.max);
  }
}

export class Waiter<T> {
  deadline: Deadline | null = null;
  readonly grade: Grade<T>;
  private readonly resolve: (value: T) => void;
  private readonly refuse: (error: unknown) => void;

  constructor(grade: Grade<T>, resolve: (value: T) => void, reject: (error: unknown) => void) {
    this.grade = grade;
    this.resolve = resolve;
    this.refuse = reject;
  }

  /** Gives it what it waits for; `false` if there is nothing. */
  serve(source: Source): boolean {
    let value: T | null;
    try {
      value = this.grade.read(source);
    } catch (error) {
      this.reject(error);
      return true;
    }
    if (value === null) return false;
    this.deadline?.disarm();
    this.resolve(value);
    return true;
  }

  reject(error: unknown): void {
    this.deadline?.disarm();
    this.refuse(error);
  }
}
