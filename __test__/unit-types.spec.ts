/** The types of a pipe's channels: what peers announce, and which of it is kept. */

import test from 'ava';

import { encodeAnnouncement } from '../lib/internal/announcement.js';
import { TypedReader } from '../lib/internal/typed-reader.js';
import { PipeTypes, type TypesHost } from '../lib/internal/types.js';
import { compile, type ArchiveCodec } from '../lib/schema/codec.js';
import { describe, type TypeSketch } from './helpers/schemas.js';

interface A {
  id: number;
  bs: { x: number; y: number; as: A[] }[];
}

const codecOf = (b: TypeSketch): ArchiveCodec<A> =>
  compile<A>(describe('a.A', { 'a.A': { id: 'u32', bs: ['vec', '@a.B'] }, 'a.B': b }));

/** In a circle, one of the mentions is by name only: the hash of A says nothing of what B is. */
const OLD = codecOf({ x: 'u32', y: 'u32', as: ['vec', 'a.A'] });
const NEW = codecOf({ y: 'u32', x: 'u32', as: ['vec', 'a.A'] });

function typesOf(announcements: Buffer[], reconnects = false): PipeTypes {
  const outbox = { send: () => Promise.resolve() };
  const takeAnnouncement = (): Buffer | null => announcements.shift() ?? null;
  return new PipeTypes({ outbox, reconnects, takeAnnouncement } as unknown as TypesHost);
}

function announced({ hash, descriptor }: ArchiveCodec<A>, channel = 0): Buffer {
  return encodeAnnouncement({ channel, hash, descriptor });
}

test('[T18] another version with the hash of the own one is not read as the own one', (t) => {
  t.is(OLD.hash, NEW.hash);
  const value = { id: 1, bs: [{ x: 10, y: 20, as: [] }] };
  const bytes = OLD.encode(value);
  const reader = (codec: ArchiveCodec<A>, resolve: boolean): TypedReader<A, unknown> =>
    new TypedReader<A, unknown>(typesOf([announced(OLD)]), { codec, channel: 0, resolve });
  t.deepEqual(reader(OLD, false).decode(bytes, 0), value);
  t.deepEqual(reader(NEW, true).decode(bytes, 0), value);
  const refusal = { code: 'ERR_SCHEMA_MISMATCH', message: /A\.bs\[\].*reordered.*resolve: true/ };
  t.throws(() => reader(NEW, false).decode(bytes, 0), refusal);
  const liar = encodeAnnouncement({ channel: 0, hash: OLD.hash, descriptor: '{}' });
  const lied = new TypedReader<A, unknown>(typesOf([liar]), {
    codec: OLD,
    channel: 0,
    resolve: false,
  });
  t.throws(() => lied.decode(bytes, 0), { code: 'ERR_SCHEMA_MISMATCH' });
});

test('[T18] a channel carries one version, whatever its hash', (t) => {
  const own = typesOf([]);
  own.announce(0, OLD);
  own.announce(0, codecOf({ x: 'u32', y: 'u32', as: ['vec', 'a.A'] }));
  t.throws(() => own.announce(0, NEW), { code: 'ERR_INVALID_ARGUMENT', message: /another type/ });
  t.notThrows(() => typesOf([announced(OLD), announced(OLD)]).ofPeer(0));
  const second = typesOf([announced(OLD), announced(NEW)]);
  t.throws(() => second.ofPeer(0), { code: 'ERR_PROTOCOL', message: /a second type/ });
});

test('[T35] a peer may describe types at length, but not without end', (t) => {
  const descriptor = ' '.repeat(2 ** 20);
  const all = (count: number): Buffer[] =>
    Array.from({ length: count }, (_, channel) => {
      return encodeAnnouncement({ channel, hash: 1n, descriptor });
    });
  const most = typesOf(all(16));
  t.is(most.ofPeer(15)?.hash, 1n);
  t.throws(() => typesOf(all(17)).ofPeer(0), { code: 'ERR_PROTOCOL', message: /16777216/ });
  const lost = typesOf([...all(16), Buffer.alloc(0), ...all(16)], true);
  lost.collect();
  t.is(lost.ofPeer(3)?.hash, 1n, 'of another connection, it counts anew');
});
