/**
 * Archives between Rust and TypeScript: random values of thirty sample types, made by the one and
 * read by the other, byte for byte, and damaged archives, judged by both. The Rust end is
 * crates/busbar-types/examples/peer.rs.
 *
 * `BUSBAR_PEER_VALUES` is how many values there are of each type, `BUSBAR_FUZZ_ROUNDS` how many
 * damaged archives of all types together, for longer runs.
 */

import { execFile, execFileSync } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';

import test from 'ava';

import { BusbarError, compile, type ArchiveCodec } from '../index.js';
import { PEER } from './helpers/built.js';
import { random, seedOfRun } from './helpers/data.js';

const VALUES = Number(process.env['BUSBAR_PEER_VALUES'] ?? 1000);
const ROUNDS_ALL = Number(process.env['BUSBAR_FUZZ_ROUNDS'] ?? 50_000);

const OUTPUT_MAX = 2 ** 31;

const seed = seedOfRun();

/** What Rust says of an archive. */
const Verdict = { None: 0, Valid: 1, Exact: 2 };

const TYPES = JSON.parse(execFileSync(PEER, ['types'], { encoding: 'utf8' }), (key, value) => {
  // Random integers are beyond what numbers can hold.
  return key === 'ts' ? undefined : (value as unknown);
}) as { root: string }[];

const ROUNDS = Math.ceil(ROUNDS_ALL / TYPES.length);

for (const type of TYPES) {
  const generated = compile<unknown>(JSON.stringify(type));
  const interpreted = compile<unknown>(JSON.stringify(type), { mode: 'interpreted' });
  const hasHashMap = JSON.stringify(type).includes('hashmap');

  test(`[T07 T09 T26] ${type.root}: values of Rust are read and written the same`, async (t) => {
    t.log(`BUSBAR_SEED=${seed}`);
    const archives = records(await peer(['make', type.root, String(VALUES), String(seed)]));
    t.is(archives.length, VALUES);
    const written: Buffer[] = [];
    for (const archive of archives) {
      const value = generated.decode(archive);
      generated.validate(archive);
      const others = [interpreted.decode(archive), copied(generated, archive)];
      if (!others.every((other) => isDeepStrictEqual(other, value))) {
        t.deepEqual(others, [value, value]);
      }
      const again = generated.encode(value);
      if (!again.equals(interpreted.encode(value))) t.fail('two codecs write two archives');
      if (!hasHashMap && !again.equals(archive)) t.fail(`${again.toString('hex')} is not the same`);
      if (generated.encodedSize(value) !== again.length) t.fail('another size');
      written.push(again);
    }
    const verdicts = await peer(['compare', type.root], written);
    const expected = hasHashMap ? Verdict.Valid : Verdict.Exact;
    t.true(
      verdicts.every((verdict) => verdict >= expected),
      'what TypeScript wrote',
    );
  });

  test(`[T35] ${type.root}: Rust and TypeScript refuse the same damaged archives`, async (t) => {
    t.log(`BUSBAR_SEED=${seed}`);
    const chance = random(seed);
    const below = (end: number): number => Math.floor(chance() * end);
    const good = records(await peer(['make', type.root, '50', String(seed)]));
    const all = Array.from({ length: ROUNDS }, () => {
      const bytes = Buffer.from(good[below(good.length)] as Buffer);
      for (let n = 1 + below(3); n > 0 && bytes.length > 0; n--) {
        // Near the end is the root, with the pointers.
        const at =
          chance() < 0.5
            ? below(bytes.length)
            : bytes.length - 1 - below(Math.min(bytes.length, 64));
        bytes[at] = chance() < 0.5 ? below(256) : (bytes[at] as number) ^ (1 << below(8));
      }
      return bytes.subarray(0, chance() < 0.1 ? below(bytes.length + 1) : bytes.length);
    });
    const damaged = all.filter((bytes) => !isEndless(generated, bytes));
    const verdicts = await peer(['judge', type.root], damaged);
    const codecs = [generated, interpreted];
    for (const [index, bytes] of damaged.entries()) {
      const isValid = verdicts[index] !== Verdict.None;
      const say = `${bytes.toString('hex')}, which Rust ${isValid ? 'accepts' : 'refuses'}`;
      if (refused(() => generated.validate(bytes)) === isValid) t.fail(`validate() of ${say}`);
      for (const codec of codecs) {
        if (refused(() => codec.decode(bytes)) && isValid) t.fail(`decode() of ${say}`);
        if (refused(() => copied(codec, bytes)) && isValid) t.fail(`view() of ${say}`);
      }
    }
    t.is(verdicts.length, damaged.length);
  });
}

/**
 * Four billion times nothing take no bytes. Rust refuses them; `validate()` lets them pass, and
 * only reading them as a value does not.
 */
function isEndless(codec: ArchiveCodec<unknown>, bytes: Uint8Array): boolean {
  try {
    codec.decode(bytes);
    return false;
  } catch (error) {
    return error instanceof Error && /values of no bytes/.test(error.message);
  }
}

/** The value that a cursor shows. */
function copied(codec: ArchiveCodec<unknown>, bytes: Uint8Array): unknown {
  const view = codec.view(bytes) as { $toObject(): unknown };
  return view.$toObject();
}

/** Whether reading is refused, in one of the two ways there are. */
function refused(read: () => unknown): boolean {
  try {
    read();
    return false;
  } catch (error) {
    const code = error instanceof BusbarError ? error.code : '';
    if (code === 'ERR_ARCHIVE_INVALID' || code === 'ERR_SCHEMA_VARIANT') return true;
    throw error;
  }
}

/** Runs the peer with archives as its input. */
function peer(args: readonly string[], archives: readonly Buffer[] = []): Promise<Buffer> {
  const options = { encoding: 'buffer', maxBuffer: OUTPUT_MAX, timeout: 600_000 } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(PEER, args, options, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
    const input = archives.flatMap((archive) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(archive.length);
      return [length, archive];
    });
    // A peer that reads nothing may be gone before this; why it went is told above.
    child.stdin?.on('error', () => {});
    child.stdin?.end(Buffer.concat(input));
  });
}

/** Archives, each behind its length. */
function records(bytes: Buffer): Buffer[] {
  const archives: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32LE(at);
    archives.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return archives;
}
