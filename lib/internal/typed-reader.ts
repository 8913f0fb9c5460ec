/** Messages as values, if they are what the peer said and this side expects. */

import type { Batch } from '../batch.js';
import { BusbarError, invalidArgument } from '../errors.js';
import type { Message } from '../message.js';
import type { Movable } from '../schema/views.js';
import type { Codec, Decoder } from '../typed.js';
import type { TypeAnnouncement } from './announcement.js';
import { MessageView } from './message.js';
import { isSameType } from './same-type.js';
import type { PipeTypes } from './types.js';
import type { Grade, Source } from './waiter.js';

/** A value, which may itself be `null`. */
export interface Decoded<T> {
  readonly value: T;
}

/** What a typed pipe reads, and how. */
export interface Expectation<T, V> {
  readonly codec: Codec<T, V>;
  readonly channel: number;
  /** Whether values of another version of the type are read, too. */
  readonly resolve: boolean;
}

type Described = Pick<Codec<unknown, unknown>, 'name' | 'hash' | 'compare' | 'resolve'>;

export class TypedReader<T, V> implements Grade<Decoded<T>> {
  readonly what = 'receive()';
  private readonly types: PipeTypes;
  private readonly expected: Expectation<T, V>;
  /** What reads the values of this peer, once it has said what they are. */
  private agreed: Decoder<T, V> | null = null;
  /** The same for channels other than its own, by which a peer may send values of the type. */
  private readonly others = new Map<number, Decoder<T, V>>();
  /** The connection that this was agreed on for. */
  private connection = 0;
  /** The one cursor of this pipe, and what made it: another version has another layout. */
  private cursor: Movable<V> | null = null;
  private cursorOf: Decoder<T, V> | null = null;

  constructor(types: PipeTypes, expected: Expectation<T, V>) {
    this.types = types;
    this.expected = expected;
  }

  read(source: Source): Decoded<T> | null {
    const bytes = source.readMessage();
    return bytes === null ? null : { value: this.decode(bytes, source.channel) };
  }

  decode(bytes: Uint8Array, channel: number): T {
    return this.on(channel).decode(bytes);
  }

  /** Message `i`, in place. */
  view(batch: Batch, i: number): V {
    const decoder = this.on(batch.channel(i));
    const offset = batch.offset(i);
    const bytes = offset < 0 ? batch.at(i) : batch.bytes;
    const from = Math.max(offset, 0);
    const size = batch.size(i);
    if (this.cursor !== null && this.cursorOf === decoder) {
      return this.cursor.$move(bytes, from, size);
    }
    if (decoder.view === undefined) {
      const { name } = this.expected.codec;
      throw invalidArgument(`the codec of ${name} has no view(); use at(i), which decodes`);
    }
    const cursor = decoder.view(bytes, from, size);
    this.cursor = cursor as V & Movable<V>;
    this.cursorOf = decoder;
    return cursor;
  }

  /** What reads messages on `channel`. */
  private on(channel: number): Decoder<T, V> {
    if (this.connection !== this.types.connection) {
      this.connection = this.types.connection;
      this.agreed = null;
      this.others.clear();
      this.cursor = null;
    }
    if (channel === this.expected.channel) return (this.agreed ??= this.agree(channel));
    let decoder = this.others.get(channel);
    if (decoder === undefined) this.others.set(channel, (decoder = this.agree(channel)));
    return decoder;
  }

  private agree(channel: number): Decoder<T, V> {
    const { codec, resolve } = this.expected;
    const announced = this.types.ofPeer(channel);
    if (announced === undefined) {
      const message = `the peer sends bytes without a type on channel ${channel}`;
      const advice = `${codec.name} is expected: let it send by typed() as well`;
      throw new BusbarError('ERR_SCHEMA_MISMATCH', `${message}; ${advice}`);
    }
    if (isSameType(announced, codec)) return codec;
    if (resolve && codec.resolve !== undefined) {
      const reader = codec.resolve(announced.descriptor);
      if (reader.hash === announced.hash) return reader;
    }
    throw mismatch(announced, codec, resolve);
  }
}

/** One value, with all that is known of its message. */
export class NamedValues<T> implements Grade<Message<T>> {
  readonly what = 'receiveMessage()';
  readonly acknowledges = true;
  private readonly reader: Pick<TypedReader<T, unknown>, 'decode'>;

  constructor(reader: Pick<TypedReader<T, unknown>, 'decode'>) {
    this.reader = reader;
  }

  read(source: Source): Message<T> | null {
    const bytes = source.readMessage();
    if (bytes === null) return null;
    const { channel } = source;
    const receipt = source.receipt();
    try {
      return new MessageView(this.reader.decode(bytes, channel), channel, receipt);
    } catch (error) {
      // Whoever is told so has nothing to acknowledge it by; its sender would wait for ever.
      receipt?.ack();
      throw error;
    }
  }
}

/** Several values at once. */
export class TypedMessages<T> implements Grade<T[]> {
  readonly what = 'receiveBatch()';
  private readonly reader: Pick<TypedReader<T, unknown>, 'decode'>;
  private readonly max: number;

  constructor(reader: Pick<TypedReader<T, unknown>, 'decode'>, max: number) {
    this.reader = reader;
    this.max = max;
  }

  read(source: Source): T[] | null {
    const values: T[] = [];
    while (values.length < this.max) {
      const bytes = source.readMessage();
      if (bytes === null) break;
      try {
        values.push(this.reader.decode(bytes, source.channel));
      } catch (error) {
        if (values.length === 0) throw error;
        // It fails again, when those before it have been given out.
        source.putBack();
        break;
      }
    }
    return values.length === 0 ? null : values;
  }
}

function mismatch(peers: TypeAnnouncement, codec: Described, resolve: boolean): BusbarError {
  const message = `the peer sends ${nameOf(peers)}, not ${codec.name} (${hex(codec.hash)})`;
  const difference = firstDifference(peers, codec);
  const advice = 'give both ends the same version';
  const other =
    !resolve && codec.resolve !== undefined ? ', or read others with resolve: true' : '';
  return new BusbarError('ERR_SCHEMA_MISMATCH', `${message}${difference}; ${advice}${other}`);
}

/** Where the two differ, as far as anybody can tell: the peer may say anything of its type. */
function firstDifference({ descriptor }: TypeAnnouncement, codec: Described): string {
  try {
    const [first] = codec.compare?.(descriptor).reasons ?? [];
    return first === undefined ? '' : `: ${first}`;
  } catch {
    return '';
  }
}

/** The type's name, as its descriptor has it, and its hash. */
function nameOf({ descriptor, hash }: TypeAnnouncement): string {
  let name: unknown;
  try {
    name = (JSON.parse(descriptor) as { root?: unknown } | null)?.root;
  } catch {
    // The codec of the peer describes itself in another way.
  }
  return `${typeof name === 'string' ? name : 'another type'} (${hex(hash)})`;
}

function hex(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}
