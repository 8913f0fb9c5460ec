/** Messages as values, if they are what the peer said and this side expects. */

import { BusbarError } from '../errors.js';
import type { Codec } from '../typed.js';
import type { TypeAnnouncement } from './announcement.js';
import type { PipeTypes } from './types.js';
import type { Grade, Source } from './waiter.js';

/** A value, which may itself be `null`. */
export interface Decoded<T> {
  readonly value: T;
}

export class TypedReader<T> implements Grade<Decoded<T>> {
  readonly what = 'receive()';
  private readonly types: PipeTypes;
  private readonly codec: Codec<T>;
  private readonly channel: number;
  /** What reads the values of this peer, once it has said what they are. */
  private agreed: Codec<T> | null = null;

  constructor(types: PipeTypes, codec: Codec<T>, channel: number) {
    this.types = types;
    this.codec = codec;
    this.channel = channel;
  }

  read(source: Source): Decoded<T> | null {
    const bytes = source.readMessage();
    return bytes === null ? null : { value: this.decode(bytes, source.channel) };
  }

  decode(bytes: Uint8Array, channel: number): T {
    if (channel !== this.channel) {
      const message = `a message came on channel ${channel}, and ${this.codec.name} is read from`;
      throw new BusbarError('ERR_SCHEMA_MISMATCH', `${message} channel ${this.channel} only`);
    }
    return (this.agreed ??= this.agree()).decode(bytes);
  }

  private agree(): Codec<T> {
    const { codec, channel } = this;
    const announced = this.types.ofPeer(channel);
    if (announced === undefined) {
      const message = `the peer sends bytes without a type on channel ${channel}`;
      const advice = `${codec.name} is expected: let it send by typed() as well`;
      throw new BusbarError('ERR_SCHEMA_MISMATCH', `${message}; ${advice}`);
    }
    if (announced.hash === codec.hash) return codec;
    if (codec.resolve !== undefined) return codec.resolve(announced.descriptor);
    const message = `the peer sends ${nameOf(announced)}, not ${codec.name} (${hex(codec.hash)})`;
    throw new BusbarError('ERR_SCHEMA_MISMATCH', `${message}; give both ends the same version`);
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
