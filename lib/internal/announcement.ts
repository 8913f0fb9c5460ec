/**
 * Announcements: messages on a channel of their own, by which one end tells the other what type
 * the messages of a channel are. The core hands them out beside the messages, not among them.
 *
 * docs/formats/announcement.md draws the layout.
 */

import { BusbarError } from '../errors.js';

/** The channel of announcements, of which users hear nothing. */
export const ANNOUNCEMENTS = 0xffff;

/** What one end says of the messages on one of its channels. */
export interface TypeAnnouncement {
  readonly channel: number;
  readonly hash: bigint;
  /** The type's descriptor, as JSON. */
  readonly descriptor: string;
}

/** The announcement as it is sent. */
export function encodeAnnouncement({ channel, hash, descriptor }: TypeAnnouncement): Buffer {
  const text = Buffer.from(descriptor);
  const bytes = Buffer.alloc(HEAD_BYTES + text.length);
  bytes.writeUInt8(KIND_TYPE, 0);
  bytes.writeUInt16LE(channel, 2);
  bytes.writeBigUInt64LE(hash, 8);
  text.copy(bytes, HEAD_BYTES);
  return bytes;
}

/** What the peer has announced; `null` if this version does not know the kind. */
export function decodeAnnouncement(bytes: Buffer): TypeAnnouncement | null {
  if (bytes.length > 0 && bytes.readUInt8(0) !== KIND_TYPE) return null;
  const isWhole = bytes.length >= HEAD_BYTES && bytes[1] === 0 && bytes.readUInt32LE(4) === 0;
  const channel = isWhole ? bytes.readUInt16LE(2) : ANNOUNCEMENTS;
  if (channel === ANNOUNCEMENTS) {
    const message = 'the peer sent a malformed announcement; check which version it runs';
    throw new BusbarError('ERR_PROTOCOL', message);
  }
  const descriptor = bytes.toString('utf8', HEAD_BYTES);
  return { channel, hash: bytes.readBigUInt64LE(8), descriptor };
}

const KIND_TYPE = 1;
const HEAD_BYTES = 16;
