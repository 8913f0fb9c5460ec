/** The `busbar` command, as its users run it. */

import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

import test, { type ExecutionContext } from 'ava';

import { compile, type Descriptor } from '../index.js';
import { EXPORTED_TYPES, PHYSICS } from './helpers/built.js';

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const TYPES = fileURLToPath(new URL('fixtures/descriptors.json', import.meta.url));
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const NODE_TYPES = fileURLToPath(new URL('../node_modules/@types', import.meta.url));
const STRICT =
  '--ignoreConfig --strict --exactOptionalPropertyTypes --noUnusedLocals --noUnusedParameters ' +
  '--noImplicitOverride --noUncheckedIndexedAccess --isolatedDeclarations --declaration ' +
  '--skipLibCheck --types node --target es2023 --lib es2023,esnext.disposable --module nodenext';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script of Node. */
function node(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, NODE_OPTIONS: '' };
    execFile(process.execPath, args, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

/** A project in which the package is installed. */
function folder(t: ExecutionContext): string {
  const path = mkdtempSync(`${tmpdir()}/busbar-cli-`);
  t.teardown(() => rmSync(path, { recursive: true }));
  writeFileSync(`${path}/package.json`, '{ "type": "module" }');
  mkdirSync(`${path}/node_modules`);
  symlinkSync(fileURLToPath(new URL('..', import.meta.url)), `${path}/node_modules/busbar`);
  return path;
}

for (const u64 of ['bigint', 'number'] as const) {
  test(`[T05 T09] generated files are strict and do what compile() does: ${u64}`, async (t) => {
    const path = folder(t);
    const out = `${path}/types.ts`;
    t.deepEqual(await node(CLI, 'gen', TYPES, '-o', out, '--u64', u64), quiet());
    writeFileSync(`${path}/main.ts`, MAIN);
    const files = [out, `${path}/main.ts`];
    const compiled = await node(
      TSC,
      ...STRICT.split(' '),
      '--typeRoots',
      NODE_TYPES,
      '--outDir',
      `${path}/out`,
      ...files,
    );
    t.deepEqual(compiled, quiet(), compiled.stdout);
    // It is the same without a right to generate code.
    const ran = await node('--disallow-code-generation-from-strings', `${path}/out/main.js`);
    t.is(ran.code, 0, ran.stderr);
    const { archives, read, score } = JSON.parse(ran.stdout);
    const types = JSON.parse(readFileSync(TYPES, 'utf8')) as Descriptor[];
    const order = types.find(({ root }) => root === 'market.Order') as Descriptor;
    const value = { ...ORDER, id: u64 === 'number' ? 5 : 5n };
    const codec = compile<typeof value>(order, { u64 });
    t.is(archives.order, codec.encode(value).toString('hex'));
    t.deepEqual(read, { symbol: 'BTC-USDT', tags: ['algo', 'a longer one'], same: true });
    t.deepEqual(score, { kind: 'Circle', radius: 1.5, unknown: 'ERR_SCHEMA_VARIANT' });
  });
}

const ORDER = {
  symbol: 'BTC-USDT',
  side: 'Sell',
  price: 1.5,
  qty: 2,
  tags: ['algo', 'a longer one'],
  note: null,
};

/** A program that uses the generated file, and would not compile if its types were loose. */
const MAIN = `
import { registry, type ArchiveCodec } from 'busbar';
import { OrderCodec, ShapeCodec, type Order, type OrderView, type Shape } from './types.js';

const isNumber = typeof OrderCodec.decode(new Uint8Array(64)).id === 'number';
const id = (isNumber ? 5 : 5n) as Order['id'];
const order: Order = ${JSON.stringify(ORDER).replace('{', '{ id, ')};
const bytes = OrderCodec.encode(order);
const view: OrderView = OrderCodec.view(bytes);
registry.register(OrderCodec);
const byName: ArchiveCodec<Order> = registry.lookup('market.Order', OrderCodec.hash);
const read = {
  symbol: view.symbol,
  tags: view.tags.toArray(),
  same: byName.encode(view.$toObject()).equals(bytes),
};
const shape: Shape = { kind: 'Circle', value: { radius: 1.5, label: 'round' } };
const drawn = ShapeCodec.view(ShapeCodec.encode(shape));
let unknown = 'nothing';
try {
  ShapeCodec.decode(new Uint8Array(24).fill(9));
} catch (error) {
  unknown = (error as { code: string }).code;
}
const value = drawn.value;
const radius = value !== undefined && 'radius' in value ? value.radius : 0;
const archives = { order: bytes.toString('hex') };
console.log(JSON.stringify({ archives, read, score: { kind: drawn.kind, radius, unknown } }));
`;

test('[T06 T07] types are read from a library', async (t) => {
  const { stdout } = await node(CLI, 'inspect', EXPORTED_TYPES, '--type', 'game.Event');
  t.regex(stdout, /^struct game\.Event {2}hash [0-9a-f]{16} {2}size 32 {2}align 8$/m);
  t.regex(stdout, /time +u64 {2}\(as number\)$/m);
  const generated = await node(CLI, 'gen', EXPORTED_TYPES);
  for (const name of ['Position', 'Happening', 'Event']) {
    t.true(generated.stdout.includes(`export const ${name}Codec: ArchiveCodec<${name}, `));
  }
});

test('[T05 Z16] the methods of a plugin are an interface, which its zone has', async (t) => {
  const path = folder(t);
  const out = `${path}/physics.ts`;
  t.deepEqual(await node(CLI, 'gen', PHYSICS, '-o', out, '--u64', 'number'), quiet());
  t.regex(readFileSync(out, 'utf8'), /Methods of the plugin `example\.physics`/);
  writeFileSync(`${path}/main.ts`, PHYSICS_MAIN);
  const options = [...STRICT.split(' '), '--typeRoots', NODE_TYPES, '--outDir', `${path}/out`];
  const compiled = await node(TSC, ...options, out, `${path}/main.ts`);
  t.deepEqual(compiled, quiet(), compiled.stdout);
  const ran = await node(`${path}/out/main.js`, PHYSICS);
  t.is(ran.stdout, '5 5 { x: 2, y: 3 } 254 7\n', ran.stderr);
  // What the interface does not have is no TypeScript.
  const wrong = PHYSICS_MAIN.replace('physics.length({ x: 3, y: 4 })', 'physics.length(3)');
  writeFileSync(`${path}/main.ts`, wrong);
  t.regex((await node(TSC, ...options, out, `${path}/main.ts`)).stdout, /main\.ts.*TS2345/);
});

const PHYSICS_MAIN = `
import { loadZone, type Promised } from 'busbar';
import type { Physics, Point } from './physics.js';

const path = process.argv[2] ?? '';
const inline = await loadZone({ path, mode: 'inline' });
const physics = inline.interface<Physics>({ u64: 'number' });
const length: number = physics.length({ x: 3, y: 4 });
const sum: number = physics.add(2, 3);
const center: Point = physics.center({ name: 'path', points: [{ x: 2, y: 3 }] });
const inverted: number | undefined = physics.invert(Uint8Array.of(1))[0];
const zone = await loadZone({ path });
const later: number = await zone.interface<Promised<Physics>>({ u64: 'number' }).add(3, 4);
console.log(length, sum, center, inverted, later);
await zone.close();
await inline.close();
`;

test('[T05 T20] types are written for C and C++, laid out as their archives', async (t) => {
  const path = folder(t);
  const out = `${path}/types.h`;
  t.deepEqual(await node(CLI, 'gen', TYPES, '-o', out), quiet());
  t.like(await node(CLI, 'gen', TYPES, '-o', out, '--check'), { code: 0 });
  const { types } = (JSON.parse(readFileSync(TYPES, 'utf8')) as Descriptor[]).find(
    ({ root }) => root === 'market.Position',
  ) as Descriptor;
  const position = types['market.Position'];
  if (position?.kind !== 'struct') return void t.fail();
  const checks = position.fields.map(
    ({ name, offset }) =>
      `typedef char at_${name}[offsetof(market_Position, ${name}) == ${offset} ? 1 : -1];`,
  );
  const size = `typedef char size[sizeof(market_Position) == ${position.size} ? 1 : -1];`;
  const hash = `typedef char hash[MARKET_POSITION_HASH == 0x${position.hash}u ? 1 : -1];`;
  const text = ['#define BUSBAR_EXPORT_TYPES', '#include "types.h"', size, hash, ...checks, ''];
  const include = (await node(CLI, 'include')).stdout.trim();
  for (const [compiler, file, standard] of [
    ['cc', 'check.c', '-std=c11'],
    ['c++', 'check.cpp', '-std=c++17'],
  ] as const) {
    writeFileSync(`${path}/${file}`, text.join('\n'));
    const args = [standard, '-Wall', '-Werror', '-shared', '-fPIC', '-I', include];
    const library = `${path}/${file}.so`;
    execFileSync(compiler, [...args, `${path}/${file}`, '-o', library], { stdio: 'pipe' });
    const { stdout } = await node(CLI, 'inspect', library, '--type', 'market.Position');
    t.regex(stdout, new RegExp(`struct market\\.Position +hash ${position.hash}`));
  }
});

test('[T03] the schema of Cap’n Proto is written to a file', async (t) => {
  const out = `${folder(t)}/event.capnp`;
  t.deepEqual(await node(CLI, 'gen', EXPORTED_TYPES, '--type', 'game.Event', '-o', out), quiet());
  t.regex(readFileSync(out, 'utf8'), /^@0x[0-9a-f]{16};[^]*struct Event [^]*struct Position/m);
});

test('[T05] gen --check tells whether a file is up to date', async (t) => {
  const out = `${folder(t)}/types.ts`;
  const check = ['gen', TYPES, '-o', out, '--check'];
  t.like(await node(CLI, ...check), {
    code: 1,
    stderr: `busbar: ${out} is out of date: run busbar gen\n`,
  });
  await node(CLI, 'gen', TYPES, '-o', out);
  t.deepEqual(await node(CLI, ...check), quiet());
  const { stdout } = await node(CLI, 'gen', TYPES);
  t.is(stdout, readFileSync(out, 'utf8'), 'the same every time');
  t.like(await node(CLI, ...check, '--intern'), { code: 1 });
});

test('[T07] inspect prints names, hashes, layouts and formats', async (t) => {
  const { stdout, code } = await node(CLI, 'inspect', TYPES);
  t.is(code, 0);
  t.regex(stdout, /^struct market\.Position {2}hash 800e54b1aa538d22 {2}size 48 {2}align 8$/m);
  t.regex(stdout, /^ +24 +8 {2}price +f64$/m);
  t.regex(stdout, /^ +2 Circle\n +8 +8 {2}radius +f64$/m);
  t.regex(stdout, /^struct market\.Order .*\n {2}formats rkyv, capnp, json$/m);
  const json = await node(CLI, 'inspect', TYPES, '--type', 'market.Order', '--json');
  const order = JSON.parse(json.stdout) as Descriptor;
  t.deepEqual(
    [order.root, Object.keys(order.types).sort()],
    ['market.Order', ['market.Order', 'market.Side']],
  );
  const path = folder(t);
  const fields = ['a_b', 'aB'].map((name) => ({ name, kind: 'u8' }));
  const alike = { abi: 1, format: 'rkyv0.8/le/aligned/p32', root: 'a.T' };
  const types = { 'a.T': { kind: 'struct', fields } };
  writeFileSync(`${path}/alike.json`, JSON.stringify({ ...alike, types }));
  const told = await node(CLI, 'inspect', `${path}/alike.json`);
  t.regex(told.stdout, /\n {2}formats rkyv, json; not capnp: .*aB/);
});

const WRONG: readonly (readonly [code: number, message: RegExp, ...args: string[]])[] = [
  [2, /^busbar: no command\n\nusage: busbar/],
  [2, /^busbar: there is no command generate; busbar --help says more\n$/, 'generate'],
  [2, /gen needs a library or a descriptor/, 'gen'],
  [2, /Unknown option '--outt'/, 'gen', TYPES, '--outt'],
  [2, /--u64 is int; it must be number or bigint/, 'gen', TYPES, '--u64', 'int'],
  [2, /--check needs --out/, 'gen', TYPES, '--check'],
  [1, /nowhere\.so: there is no such file.*ERR_NOT_FOUND/, 'gen', 'nowhere.so'],
  [1, /no library|invalid ELF|file too short|ERR_IO/, 'gen', 'README.md'],
  [1, /nowhere\.json: .*no such file.*\(ERR_NOT_FOUND\)/, 'inspect', 'nowhere.json'],
  [1, /^busbar: package\.json: this is no descriptor/, 'inspect', 'package.json'],
  [
    1,
    /there is no type market.Odd .*\(ERR_TYPE_NOT_FOUND\)/,
    'inspect',
    TYPES,
    '--type',
    'market.Odd',
  ],
];

for (const [code, message, ...args] of WRONG) {
  const line = args.map((arg) => arg.split('/').at(-1)).join(' ');
  test(`[T05] busbar ${line} says what is wrong`, async (t) => {
    const outcome = await node(CLI, ...args);
    t.like(outcome, { code, stdout: '' });
    t.regex(outcome.stderr, message);
  });
}

test('[M09] --help and --version', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  t.deepEqual(await node(CLI, '--version'), { ...quiet(), stdout: `${version}\n` });
  t.regex((await node(CLI, '-h')).stdout, /^usage: busbar <command>/);
});

/** Success without a word. */
function quiet(): Outcome {
  return { code: 0, stdout: '', stderr: '' };
}
