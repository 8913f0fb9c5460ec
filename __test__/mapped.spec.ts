/** Mapped files: written here or by Rust, read in place here, whatever others do to them. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { pathToFileURL } from 'node:url';

import test, { type ExecutionContext } from 'ava';

import { compile, MappedFile, openMapped, writeMapped } from '../index.js';
import { MAPPED_FILE } from './helpers/built.js';
import { run } from './helpers/child.js';
import { random, seedOfRun } from './helpers/data.js';
import { describe } from './helpers/schemas.js';

interface Roster {
  version: number;
  names: string[];
}

const ROSTER = compile<Roster>(
  describe('game.Roster', { 'game.Roster': { version: 'u32', names: ['vec', 'string'] } }),
);
const VALUE: Roster = { version: 3, names: ['Ada', 'Grace with a longer name', ''] };

function pathOf(t: ExecutionContext): string {
  const folder = mkdtempSync(`${tmpdir()}/busbar-mapped-`);
  t.teardown(() => rmSync(folder, { recursive: true }));
  return `${folder}/roster.busbar`;
}

test('[M04 T02 T35] a value is written to a file and read in place', (t) => {
  const path = pathOf(t);
  const bytes = writeMapped(pathToFileURL(path), ROSTER, VALUE);
  t.is(openMapped(pathToFileURL(path), ROSTER).path, path);
  for (const other of [new URL('https://example.org/x'), '', 'a\0b', null as unknown as string]) {
    t.throws(() => openMapped(other, ROSTER), { code: 'ERR_INVALID_ARGUMENT' });
  }
  t.is(bytes, ROSTER.encodedSize(VALUE));
  const file = openMapped(path, ROSTER);
  t.true(file instanceof MappedFile);
  t.is(file.path, path);
  t.deepEqual(file.decode(), VALUE);
  t.is(file.view().names.at(1), VALUE.names[1] as string);
  t.deepEqual(Buffer.from(file.bytes), readFileSync(path).subarray(64));
  t.notThrows(() => file.verify());
  file.bytes[0] = 0xff;
  t.deepEqual(openMapped(path, ROSTER).decode(), VALUE, 'what is written stays here');
  file.close();
  for (const use of [
    () => file.view(),
    () => file.decode(),
    () => file.verify(),
    () => file.bytes,
  ]) {
    t.throws(use, { code: 'ERR_CLOSED', message: new RegExp(path) });
  }
});

test('[T35] a newer file does not disturb those who have the older one', (t) => {
  const path = pathOf(t);
  writeMapped(path, ROSTER, VALUE);
  const old = openMapped(path, ROSTER);
  writeMapped(path, ROSTER, { version: 4, names: [] });
  t.deepEqual(old.decode(), VALUE);
  t.notThrows(() => old.verify());
  t.is(openMapped(path, ROSTER).view().version, 4);
});

test('[T35] a file truncated while it is mapped is an error, and no SIGBUS', async (t) => {
  const path = pathOf(t);
  const names = Array.from({ length: 50_000 }, (_, i) => `a name that is not inline ${i}`);
  writeMapped(path, ROSTER, { version: 1, names });
  const exit = await run('truncated-mapping.js', [path], { deadlineMs: 60_000 });
  t.like(exit, { code: 0, late: false }, exit.stderr);
  t.deepEqual(JSON.parse(exit.stdout), { before: names.length, after: 'ERR_ARCHIVE_INVALID' });
});

test('[T35] what is no mapped file of the type is refused', (t) => {
  const path = pathOf(t);
  t.throws(() => openMapped(path, ROSTER), { code: 'ERR_NOT_FOUND', message: new RegExp(path) });
  t.throws(() => writeMapped(`${path}/in/no/folder`, ROSTER, VALUE), {
    code: 'ERR_NOT_FOUND',
  });
  writeMapped(path, ROSTER, VALUE);
  const other = compile(describe('game.Roster', { 'game.Roster': { version: 'u64' } }));
  t.throws(() => openMapped(path, other), { code: 'ERR_SCHEMA_MISMATCH', message: /game\.Roster/ });
  const good = readFileSync(path);
  const broken = [good.subarray(0, 63), good.subarray(0, -1), Buffer.concat([good, good])];
  for (const [index, bytes] of [...broken, Buffer.alloc(0), Buffer.alloc(200)].entries()) {
    writeFileSync(`${path}${index}`, bytes);
    t.throws(() => openMapped(`${path}${index}`, ROSTER), { code: 'ERR_ARCHIVE_INVALID' });
  }
  const lying = Buffer.from(good);
  lying.fill(0xff, lying.length - 4);
  writeFileSync(`${path}.lying`, lying);
  t.throws(() => openMapped(`${path}.lying`, ROSTER), { code: 'ERR_ARCHIVE_INVALID' });
  t.notThrows(() => openMapped(`${path}.lying`, ROSTER, { validate: false }).view().version);
  for (const wrong of [null, 5, Buffer.from('path')]) {
    t.throws(() => openMapped(wrong as never, ROSTER), { code: 'ERR_INVALID_ARGUMENT' });
    t.throws(() => writeMapped(wrong as never, ROSTER, VALUE), { code: 'ERR_INVALID_ARGUMENT' });
  }
});

test('[T35] a file is refused that is longer than any archive', (t) => {
  const path = pathOf(t);
  writeMapped(path, ROSTER, VALUE);
  // Sparse, so that it takes no room.
  const bytes = 2 ** 33;
  const header = readFileSync(path).subarray(0, 64);
  header.writeBigUInt64LE(BigInt(bytes), 24);
  writeFileSync(path, header);
  truncateSync(path, 64 + bytes);
  for (const validate of [true, false]) {
    t.throws(() => openMapped(path, ROSTER, { validate }), { code: 'ERR_ARCHIVE_INVALID' });
  }
});

test('[T35] a file that is changed while it is validated is refused', (t) => {
  const path = pathOf(t);
  writeMapped(path, ROSTER, VALUE);
  const changing = {
    ...ROSTER,
    validate(bytes: Uint8Array): void {
      ROSTER.validate(bytes);
      truncateSync(path, 80);
    },
  };
  t.throws(() => openMapped(path, changing), { code: 'ERR_ARCHIVE_INVALID' });
});

test('[T35] damaged files are values or typed errors', (t) => {
  const seed = seedOfRun();
  t.log(`BUSBAR_SEED=${seed}`);
  const chance = random(seed);
  const below = (end: number): number => Math.floor(chance() * end);
  const path = pathOf(t);
  writeMapped(path, ROSTER, VALUE);
  const good = readFileSync(path);
  const codes = new Set<string>();
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(good);
    for (let n = 1 + below(3); n > 0; n--) bytes[below(bytes.length)] = below(256);
    writeFileSync(
      `${path}.damaged`,
      bytes.subarray(0, below(10) === 0 ? below(bytes.length) : undefined),
    );
    try {
      openMapped(`${path}.damaged`, ROSTER).decode();
    } catch (error) {
      codes.add((error as { code: string }).code);
    }
  }
  const allowed = new Set(['ERR_ARCHIVE_INVALID', 'ERR_SCHEMA_MISMATCH']);
  t.deepEqual(
    [...codes].filter((code) => !allowed.has(code)),
    [],
  );
});

test('[T02] files that are open and forgotten are unmapped', async (t) => {
  const path = pathOf(t);
  writeMapped(path, ROSTER, VALUE);
  const exit = await run('forgotten-mappings.js', [path], { deadlineMs: 60_000 });
  t.like(exit, { code: 0, late: false }, exit.stderr);
  const { opened, mapped } = JSON.parse(exit.stdout) as { opened: number; mapped: number };
  t.is(opened, 5000);
  t.true(mapped < 100, `${mapped} are still mapped`);
});

test('[T35] what Rust wrote is read here, and the other way round', (t) => {
  const path = pathOf(t);
  execFileSync(MAPPED_FILE, ['write', path]);
  interface Position {
    id: bigint;
    latitude: number;
    longitude: number;
    name: string;
  }
  const fields = { id: 'u64', latitude: 'f64', longitude: 'f64', name: 'string' };
  const codec = compile<Position>(describe('example.Position', { 'example.Position': fields }));
  const position = openMapped(path, codec).decode();
  t.like(position, { id: 7n, name: 'Frauenkirche, Munich' });
  writeMapped(path, codec, { ...position, name: 'Marienplatz' });
  const printed = execFileSync(MAPPED_FILE, ['read', path], { encoding: 'utf8' });
  t.is(printed.trim(), `7 Marienplatz: ${position.latitude}, ${position.longitude}`);
});
