/**
 * Tells the core which messages of a reliable pipe the program is done with: once a turn, however
 * many they are.
 */

import type { Flushable, Port } from './port.js';

export class Acknowledger implements Flushable {
  dirty = false;
  private readonly port: Port;
  private readonly handle: number;
  /** Messages taken out of the core. */
  private fetched = 0;
  /** Those that the program is done with, and how many of them the core knows of. */
  private processed = 0;
  private told = 0;

  constructor(port: Port, handle: number) {
    this.port = port;
    this.handle = handle;
  }

  /** So many messages were taken out of the core. */
  count(messages: number): void {
    if (messages > 0) this.fetched += messages;
  }

  /** The program is done with all messages but `left`, which it has not got yet. */
  done(left: number): void {
    const processed = this.fetched - left;
    if (processed <= this.processed) return;
    this.processed = processed;
    if (!this.dirty) this.port.touch(this);
  }

  endTurn(): void {
    if (this.told === this.processed) return;
    this.told = this.processed;
    // The pipe may be over, which is told elsewhere.
    this.port.native.processed(this.handle, this.told);
  }
}
