/**
 * The types of a pipe's channels: what this end has announced, and what the peer has.
 *
 * A channel has one type for the life of the connection, announced before the first value.
 */

import { BusbarError, invalidArgument } from '../errors.js';
import {
  ANNOUNCEMENTS,
  decodeAnnouncement,
  encodeAnnouncement,
  type TypeAnnouncement,
} from './announcement.js';
import type { Outbox } from './outbox.js';
import { isSameType, type Announced } from './same-type.js';

/** What the types need of their pipe. */
export interface TypesHost {
  readonly outbox: Outbox;
  /**
   * Whether lost connections are replaced: then what the peer announces is collected with every
   * batch of messages, so that each is read as the connection has it that it came over.
   */
  readonly reconnects: boolean;
  /** What the peer has announced next, if anything. */
  takeAnnouncement(): Buffer | null;
}

/** What the descriptions of a peer's types may take together, in characters. */
const DESCRIPTIONS_MAX = 16 * 2 ** 20;

export class PipeTypes {
  /** Whether a channel has a type of this end. */
  isTyped = false;

  private readonly host: TypesHost;
  private readonly own = new Map<number, Announced>();
  private readonly peers = new Map<number, TypeAnnouncement>();
  /** Characters of their descriptions. */
  private described = 0;
  /** Which connection of the pipe the messages are of that were received last. */
  connection = 0;
  /** What is wrong with the peer's announcements. */
  private breach: BusbarError | null = null;

  constructor(host: TypesHost) {
    this.host = host;
  }

  /** Tells the peer, unless it knows, what the values on `channel` are. */
  announce(channel: number, codec: Announced): void {
    const known = this.own.get(channel);
    if (known === codec) return;
    if (known !== undefined) {
      if (isSameType(known, codec)) return;
      const message = `channel ${channel} carries another type than ${codec.name} already`;
      throw invalidArgument(`${message}; give each type a channel of its own`);
    }
    const { hash, descriptor } = codec;
    this.own.set(channel, codec);
    this.isTyped = true;
    const bytes = encodeAnnouncement({ channel, hash, descriptor });
    // If it cannot be sent, neither can the value behind it, and the next one tries again.
    this.host.outbox.send(bytes, ANNOUNCEMENTS, undefined).catch(() => this.own.delete(channel));
  }

  /** Throws for a channel with a type: the peer would take any bytes there for a value of it. */
  checkUntyped(channel: number): void {
    if (!this.own.has(channel)) return;
    const message = `channel ${channel} carries values sent by typed(), and no other bytes`;
    throw invalidArgument(`${message}; give bytes a channel of their own`);
  }

  /** What the peer says that its values on `channel` are, if it has said so. */
  ofPeer(channel: number): TypeAnnouncement | undefined {
    if (!this.host.reconnects) this.collect();
    if (this.breach !== null) throw this.breach;
    return this.peers.get(channel);
  }

  /** Takes what the peer has announced while the core still has it. */
  collect(): void {
    try {
      for (;;) {
        const bytes = this.host.takeAnnouncement();
        if (bytes === null) return;
        if (bytes.length === 0) {
          // What follows came over another connection, and its types are announced anew.
          this.peers.clear();
          this.described = 0;
          this.breach = null;
          this.connection++;
          continue;
        }
        this.keep(decodeAnnouncement(bytes));
      }
    } catch (error) {
      this.breach ??= error as BusbarError;
    }
  }

  private keep(announcement: TypeAnnouncement | null): void {
    if (announcement === null) return;
    const known = this.peers.get(announcement.channel);
    const { channel, hash, descriptor } = announcement;
    if (known === undefined) {
      this.described += descriptor.length;
      if (this.described > DESCRIPTIONS_MAX) {
        const message = `the peer's types take more than ${DESCRIPTIONS_MAX} characters`;
        throw new BusbarError('ERR_PROTOCOL', message);
      }
      this.peers.set(channel, announcement);
    } else if (known.hash !== hash || known.descriptor !== descriptor) {
      const message = `the peer announced a second type for channel ${channel}`;
      throw new BusbarError('ERR_PROTOCOL', message);
    }
  }
}
