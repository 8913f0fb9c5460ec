/** The package as others use it: required, imported, in workers, and type-checked. */

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import test from 'ava';

import * as busbar from '../index.js';
import { run } from './helpers/child.js';
import { startWorker } from './helpers/workers.js';

const VALUES = [
  'AbortError',
  'BatchError',
  'BufferTooSmallError',
  'BusbarError',
  'CODES',
  'Listener',
  'MappedFile',
  'Pipe',
  'PluginError',
  'SchemaError',
  'TypedPipe',
  'Zone',
  'ZoneObject',
  'backend',
  'bindInproc',
  'compile',
  'configure',
  'connectInproc',
  'dial',
  'inprocStats',
  'listInprocEndpoints',
  'listen',
  'loadZone',
  'metrics',
  'openMapped',
  'parseAddress',
  'prometheus',
  'registry',
  'setLogger',
  'version',
  'writeMapped',
];

test('[M08] the exports are these, and no others', (t) => {
  t.deepEqual(Object.keys(busbar).sort(), VALUES);
});

test('[M10] a CommonJS program requires the package', async (t) => {
  const exit = await run('consumer.cjs');
  t.like(exit, { code: 0, stdout: VALUES.join(' ') + '\nhello' }, exit.stderr);
});

test('[M10] an ES module imports the package by name', async (t) => {
  const exit = await run('consumer.mjs');
  t.like(exit, { code: 0, stdout: VALUES.join(' ') + '\nhello' }, exit.stderr);
});

test('[M10] the main thread and four workers use it at once', async (t) => {
  const listener = await busbar.listen(`shm://package-${process.pid}`);
  listener.on('pipe', async (pipe) => {
    for await (const message of pipe) await pipe.send(message);
  });
  const workers = [1, 2, 3, 4].map((seed) => {
    return startWorker('echo-worker.js', { address: listener.address, seed });
  });
  const answers = await Promise.all(workers.map((worker) => worker.posted()));
  t.deepEqual(answers, [200, 200, 200, 200]);
  t.deepEqual(await Promise.all(workers.map((worker) => worker.exited)), [0, 0, 0, 0]);
  await listener.close();
});

test('[M01 M08] the consumer names every export of index.d.ts', (t) => {
  const consumer = readFileSync(new URL('fixtures/types/consumer.ts', import.meta.url), 'utf8');
  const table = readFileSync(new URL('../index.d.ts', import.meta.url), 'utf8');
  const lists = [...table.matchAll(/^export (?:type )?\{([^}]+)\}/gm)].map(([, list]) => list);
  const entries = lists.flatMap((list) => (list ?? '').split(','));
  const names = entries.map((entry) => entry.replace('type', '').trim());
  t.true(names.length > 35);
  const imported = consumer.slice(0, consumer.indexOf("from '../../../index.js'"));
  t.deepEqual(
    names.filter((name) => !new RegExp(`\\b${name}\\b`).test(imported)),
    [],
  );
});

test('[M01 M08] strict TypeScript compiles with every export, misuse does not', async (t) => {
  const complaints = await compile(['consumer.ts', 'misuse.ts']);
  const source = readFileSync(new URL('fixtures/types/misuse.ts', import.meta.url), 'utf8');
  const wrong = source.split('\n').flatMap((line, i) => (line.includes('// wrong') ? [i + 1] : []));
  const found = [...complaints.matchAll(/misuse\.ts\((\d+),/g)].map(([, line]) => Number(line));
  t.deepEqual([...new Set(found)], wrong, complaints);
  const others = complaints.replaceAll('misuse.ts(', '');
  t.notRegex(others, /\.ts\(/, 'no complaint about another file');
});

/** What the compiler says about files that it compiles as a user would. */
async function compile(files: readonly string[]): Promise<string> {
  const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const folder = new URL('fixtures/types/', import.meta.url);
  const paths = files.map((file) => fileURLToPath(new URL(file, folder)));
  const strict = '--ignoreConfig --noEmit --strict --exactOptionalPropertyTypes --skipLibCheck';
  const platform = '--types node --target es2023 --lib es2023,esnext.disposable --module nodenext';
  const args = [compiler, ...strict.split(' '), ...platform.split(' '), ...paths];
  try {
    return (await promisify(execFile)(process.execPath, args)).stdout;
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}
