/**
 * What users install, tried as they would: the package and this machine's platform package are
 * packed, installed into an empty folder with nothing but Node and npm in PATH, and used.
 *
 * The binary is the one of the last build, stripped as a published one is.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
/**
 * Room above what benches/RESULTS.md records, as tests build without link-time optimization. 4 MB,
 * the goal, held before TLS and busbar-host.
 */
const INSTALLED_BYTES_MAX = 9 << 20;

/** One pipe, one message each way; `busbar` is in scope. */
const EXCHANGE = `
async function exchange(name) {
  const listener = busbar.bindInproc(name);
  const near = busbar.connectInproc(name);
  const far = await listener.accept({ timeoutMs: 10_000 });
  await near.send('ping');
  await far.send((await far.receive({ timeoutMs: 10_000 })).toString().toUpperCase());
  const answer = (await near.receive({ timeoutMs: 10_000 })).toString();
  await Promise.all([near.close(), far.close()]);
  await listener.close();
  return answer;
}`;

const ESM = `import * as busbar from 'busbar';
${EXCHANGE}
console.log(await exchange('esm'), busbar.version);`;

const CJS = `const busbar = require('busbar');
${EXCHANGE}
exchange('cjs').then((answer) => console.log(answer, busbar.version));`;

const TYPED = `import { dial, type BusbarError, type Pipe } from 'busbar';
const pipe: Pipe = await dial('shm://typed', { timeoutMs: 10, wait: 'park' });
const bytes: Buffer = await pipe.receive({ timeoutMs: 10 });
export const retryable = (error: BusbarError): boolean => error.retryable && bytes.length > 0;
// @ts-expect-error an option of another type
await dial('shm://typed', { timeoutMs: '10' });`;

const WORKERS = `import { isMainThread, parentPort, threadId, Worker } from 'node:worker_threads';
import * as busbar from 'busbar';
${EXCHANGE}
if (!isMainThread) {
  parentPort.postMessage(await exchange('worker-' + threadId));
} else {
  const answers = Array.from({ length: 4 }, () => new Promise((resolve, reject) => {
    new Worker(new URL(import.meta.url)).once('message', resolve).once('error', reject);
  }));
  console.log(await exchange('main'), ...(await Promise.all(answers)));
}`;

let folder;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'busbar-pack-'));
});

after(() => rmSync(folder, { recursive: true, force: true }));

test('[M09] the tarballs install without a toolchain and without running anything', () => {
  const tarballs = [packPlatform(), pack(ROOT)];
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  mkdirSync(join(folder, 'bin'));
  for (const tool of ['node', 'sh']) symlinkSync(which(tool), join(folder, 'bin', tool));
  run(which('npm'), ['install', '--offline', '--ignore-scripts', '--no-audit', ...tarballs]);
  assert.deepEqual(installed().sort(), ['@busbar', 'busbar']);
});

test('[M10] an ESM program imports it', () => {
  assert.equal(consume('esm.mjs', ESM), `PING ${MANIFEST.version}`);
});

test('[M10] a CommonJS program requires it', () => {
  assert.equal(consume('cjs.cjs', CJS), `PING ${MANIFEST.version}`);
});

test('[M10] the main thread and four workers use it at once', () => {
  assert.equal(consume('workers.mjs', WORKERS), 'PING PING PING PING PING');
});

test('[M09 Z13] the executable for plugins is there and runs', () => {
  if (process.platform !== 'linux') return;
  const { triple } = platform();
  const host = join(folder, 'node_modules/@busbar', `binding-${triple}`, 'busbar-host');
  // Only Busbar starts it, with a socket as its standard input.
  const stdio = ['ignore', 'pipe', 'pipe'];
  const { status, stderr } = spawnSync(host, { stdio, encoding: 'utf8' });
  assert.equal(status, 2, stderr);
  assert.match(stderr, /Busbar/);
});

test('[M01 M08] a strict TypeScript program compiles against it', () => {
  writeFileSync(join(folder, 'typed.mts'), TYPED);
  const modern = ['--target', 'es2023', '--module', 'nodenext', '--skipLibCheck', 'false'];
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'];
  const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  const lib = ['--lib', 'es2023,esnext.disposable', '--noEmit'];
  run(process.execPath, [compiler, ...modern, ...strict, ...types, ...lib, 'typed.mts']);
});

test('[M09] package and binary stay small', (t) => {
  const packageBytes = bytesIn(join(folder, 'node_modules', 'busbar'));
  const binaryBytes = bytesIn(join(folder, 'node_modules', '@busbar'));
  const kib = (bytes) => `${Math.ceil(bytes / 1024)} KiB`;
  t.diagnostic(`installed: package ${kib(packageBytes)}, binary ${kib(binaryBytes)}`);
  assert.ok(packageBytes + binaryBytes <= INSTALLED_BYTES_MAX);
});

test('[M09] what its documents link to is in the package', () => {
  const root = join(folder, 'node_modules', 'busbar');
  const documents = readdirSync(root, { recursive: true }).filter((name) => name.endsWith('.md'));
  assert.ok(documents.includes('README.md'));
  const broken = documents.flatMap((name) => {
    const text = readFileSync(join(root, name), 'utf8');
    const links = Array.from(text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g), ([, link]) => link);
    return links
      .filter((link) => !/^\w+:/.test(link) && !existsSync(join(root, dirname(name), link)))
      .map((link) => `${name}: ${link}`);
  });
  assert.deepEqual(broken, []);
});

test('[M08] every name of the table of contents is there, typed and at run time', async () => {
  const require = createRequire(join(folder, 'x.js'));
  const root = join(folder, 'node_modules', 'busbar');
  const values = Object.keys(require('busbar'));
  assert.deepEqual(values.sort(), Object.keys(await import(join(root, 'dist/index.js'))).sort());
  const typed = readFileSync(join(root, 'index.d.ts'), 'utf8');
  for (const name of values) assert.match(typed, new RegExp(`\\b${name}\\b`), name);
});

test('[M09] there is a platform package for every target, and the loader knows them all', () => {
  const folders = readdirSync(join(ROOT, 'npm')).sort();
  assert.equal(folders.length, MANIFEST.napi.targets.length);
  const native = readFileSync(join(ROOT, 'dist/internal/native.js'), 'utf8');
  for (const triple of folders) {
    const { name, version } = manifestOf(triple);
    assert.equal(name, `${MANIFEST.napi.packageName}-${triple}`);
    assert.equal(version, MANIFEST.version);
    assert.ok(native.includes(`'${triple}'`), triple);
  }
});

test('[M09] without the binary the message names the triple and the package', () => {
  const { triple } = platform();
  rmSync(join(folder, 'node_modules', '@busbar'), { recursive: true });
  const program = `import('busbar').catch(({ code, message }) => console.log(code, message));`;
  const said = consume('missing.mjs', program);
  assert.match(said, /^ERR_NOT_SUPPORTED there is no binary for /);
  assert.ok(said.includes(triple) && said.includes(`@busbar/binding-${triple}`), said);
});

/** The binary that the last build made for this machine. */
function platform() {
  const pattern = /^busbar\.(.+)\.node$/;
  const files = readdirSync(join(ROOT, 'binding')).filter((name) => pattern.test(name));
  assert.equal(files.length, 1, `one binary in binding/, not ${files.length}: npm run build`);
  return { file: files[0], triple: pattern.exec(files[0])[1] };
}

function packPlatform() {
  const { file, triple } = platform();
  const staged = join(folder, triple);
  cpSync(join(ROOT, 'npm', triple), staged, { recursive: true });
  cpSync(join(ROOT, 'binding', file), join(staged, file));
  if (process.platform === 'linux') {
    cpSync(join(ROOT, 'binding/busbar-host'), join(staged, 'busbar-host'));
    execFileSync('strip', ['--strip-all', join(staged, file), join(staged, 'busbar-host')]);
  }
  return pack(staged);
}

/** Packs a folder; returns the tarball. */
function pack(source) {
  const argv = ['pack', source, '--json', '--ignore-scripts', '--loglevel=error'];
  const output = execFileSync('npm', argv, { cwd: folder, encoding: 'utf8' });
  const [{ filename }] = JSON.parse(output);
  return join(folder, filename);
}

function manifestOf(triple) {
  return JSON.parse(readFileSync(join(ROOT, 'npm', triple, 'package.json'), 'utf8'));
}

/** Runs a program in the folder that the package was installed into; what it prints. */
function consume(name, source) {
  writeFileSync(join(folder, name), source);
  return run(process.execPath, [name]).trim();
}

function run(program, argv) {
  const env = { PATH: join(folder, 'bin'), HOME: folder, NODE_OPTIONS: '' };
  const options = { cwd: folder, env, encoding: 'utf8', timeout: 60_000 };
  const { status, stdout, stderr } = spawnSync(program, argv, options);
  assert.equal(status, 0, `${program} ${argv.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
}

function which(tool) {
  return execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim();
}

function installed() {
  return readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'));
}

function bytesIn(directory) {
  const entries = readdirSync(directory, { recursive: true });
  return entries.map((name) => statSync(join(directory, name))).reduce(addFile, 0);
}

function addFile(sum, entry) {
  return entry.isFile() ? sum + entry.size : sum;
}
