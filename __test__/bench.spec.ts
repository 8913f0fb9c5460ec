/** The benchmarks run, say where they ran, and judge goals by the peers of the same run. */

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import test from 'ava';

interface Line {
  readonly case: string;
  readonly contender: string;
  readonly [field: string]: unknown;
}

const BENCHES = new URL('../benches/js/', import.meta.url);
const MAIN = fileURLToPath(new URL('main.js', BENCHES));

async function bench(out: string, ...args: readonly string[]): Promise<Line[]> {
  const argv = [MAIN, ...args, '--quick', '--json', '--out', out];
  const { stdout } = await promisify(execFile)(process.execPath, argv, { timeout: 90_000 });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

async function withDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'busbar-bench-spec-'));
  try {
    await run(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const TEXT = ['case', 'contender', 'transport', 'grade', 'node', 'platform', 'cpuModel', 'date'];
const COUNT = ['size', 'n', 'rounds', 'msgPerSec', 'bytesPerSec', 'switches', 'cores'];
const TIME = ['p50Ns', 'p90Ns', 'p99Ns', 'p999Ns'];

test('[M13 D49] a latency case names its peer, percentiles, parks and cores', async (t) => {
  await withDirectory(async (out) => {
    const lines = await bench(out, '64B/one-core/busbar shm park', '64B/one-core/node:net');
    const names = lines.map(({ contender }) => contender);
    t.true(names.includes('busbar shm park') && names.includes('node:net uds'), names.join());

    for (const line of lines) {
      for (const field of TEXT) t.is(typeof line[field], 'string', field);
      for (const field of [...COUNT, ...TIME]) t.is(typeof line[field], 'number', field);
      const times = TIME.map((field) => line[field] as number);
      t.deepEqual(
        times,
        [...times].sort((a, b) => a - b),
        'percentiles must not fall',
      );
      t.true(times[0]! > 0);
      const cpus = line['cpus'] as { placement: string; pinned: boolean; server: number[] };
      t.is(cpus.placement, 'one-core');
      if (cpus.pinned) t.is(cpus.server.length, 1);
    }

    const busbar = lines.find(({ contender }) => contender === 'busbar shm park')!;
    const peer = lines.find(({ contender }) => contender === 'node:net uds')!;
    t.is(busbar['peer'], null);
    t.is(busbar['wait'], 'park');
    t.is(peer['peer'], 'node:net');
    t.is(peer['parks'], null);
    for (const counter of ['parks', 'bells', 'wakes']) {
      t.is(typeof busbar[counter], 'number', counter);
    }
    t.true((busbar['parks'] as number) > 0, 'ends that share a core must sleep');

    const files = (await readdir(out)).filter((name) => name.startsWith('js-latest.'));
    t.deepEqual(files.sort(), ['js-latest.jsonl', 'js-latest.md', 'js-latest.svg']);
    const report = await readFile(join(out, 'js-latest.md'), 'utf8');
    t.regex(report, /round trip 64 B, parked, one core: shm park \|.*\| (met|\*\*missed\*\*) \|/);
    t.regex(report, /node:net uds [\d.]+×/, 'the ratio to the peer of this run');
    t.regex(await readFile(join(out, 'js-latest.svg'), 'utf8'), /^<svg [^]*<\/svg>\n$/);
  });
});

test('[M13] a one-way case reports a rate and no percentiles', async (t) => {
  await withDirectory(async (out) => {
    const [line, ...more] = await bench(out, '64B/processes/node:net uds batched');
    t.is(more.length, 0);
    t.is(line!['p50Ns'], null);
    const bytes = (line!['msgPerSec'] as number) * 64;
    t.true(Math.abs((line!['bytesPerSec'] as number) - bytes) <= 64);
  });
});

test('[M13] a typed case reports nanoseconds and checks codecs before timing', async (t) => {
  await withDirectory(async (out) => {
    const names = ['busbar', 'json'].map((name) => `types/order/read/standalone/${name}`);
    const lines = await bench(out, ...names);
    const contenders = lines.map(({ contender }) => contender);
    t.true(contenders.includes('busbar') && contenders.includes('json'), contenders.join());
    for (const line of lines) {
      t.is(line['kind'], 'typed');
      t.is(line['peer'], line.contender === 'json' ? 'json' : null);
      t.true((line['nsPerOp'] as number) > 0);
      t.true((line['size'] as number) > 50);
    }
    const report = await readFile(join(out, 'js-latest.md'), 'utf8');
    t.regex(report, /against exact: standalone \|.*\| (met|\*\*missed\*\*) \|/);
  });

  const { prepare } = await import(new URL('types/codec.js', BENCHES).href);
  const { setup } = await import(new URL('types/peers/json.js', BENCHES).href);
  const loses = (payload: string, options: object): object => {
    const codec = setup(payload, options);
    return { ...codec, decode: (bytes: Buffer) => ({ ...codec.decode(bytes), price: 0 }) };
  };
  t.throws(() => prepare(loses, 'order', {}), { code: 'ERR_ASSERTION' });
});

test('[M13 Z09 Z20] plugin cases report percentiles of each mode and check calls', async (t) => {
  await withDirectory(async (out) => {
    const names = ['sync/64B/busbar', 'sync/64B/wasm', 'async/64B/busbar', 'async/64B/postM'];
    names.push('beside');
    const lines = await bench(out, ...names.map((name) => `plugins/${name}`));
    const contenders = lines.map((line) => `${line.case} ${line.contender}`);
    const modes = ['inline', 'shared', 'dedicated', 'process'].map((mode) => `busbar ${mode}`);
    const beside = ['busbar dedicated, alone', 'busbar dedicated, burned'];
    for (const wanted of [...modes, ...beside, 'busbar inline arena', 'wasm', 'postMessage']) {
      t.true(
        contenders.some((contender) => contender.endsWith(wanted)),
        contenders.join(),
      );
    }
    for (const line of lines) {
      t.is(line['error'], undefined, line.contender);
      t.is(line['kind'], 'call');
      t.is(line['peer'], line.contender.startsWith('busbar') ? null : line.contender);
      t.true((line['nsPerOp'] as number) > 0);
      const ranks = ['p50Ns', 'p90Ns', 'p95Ns', 'p99Ns'].map((rank) => line[rank] as number);
      t.true(ranks[0]! > 0);
      t.deepEqual(
        ranks,
        ranks.toSorted((a, b) => a - b),
        line.contender,
      );
    }
    const report = await readFile(join(out, 'js-latest.md'), 'utf8');
    t.regex(report, /\| time \| p50 \| p90 \| p95 \| p99 \|/);
    t.regex(report, /one that burns a core.*\| (met|\*\*missed\*\*) \|/);
    t.regex(report, /postMessage \|.*\| (met|\*\*missed\*\*) \|/);
  });

  const { Job } = await import(new URL('plugins/caller.js', BENCHES).href);
  const wrong = { '64B': (bytes: Buffer) => bytes };
  await t.throwsAsync(Job.open(wrong, 'sync', '64B'), { code: 'ERR_ASSERTION' });
});

test('[M13] an unknown case is refused before anything runs', async (t) => {
  await withDirectory(async (out) => {
    const error = await t.throwsAsync(bench(out, 'no-such-case'));
    t.regex(error.message, /no case matches no-such-case/);
    t.deepEqual(await readdir(out), []);
  });
});

test('[M13] goals are judged against the peer of the same run', async (t) => {
  const { judge } = await import(new URL('goals.js', BENCHES).href);
  const goal = {
    text: 'twice as fast',
    cases: ['c'],
    contender: 'busbar',
    metric: 'p50Ns',
    peer: 'other',
    timesBetter: 2,
  };
  const line = { case: 'c', kind: 'latency' };
  const own = { ...line, contender: 'busbar', peer: null, p50Ns: 100, byRound: [100, 300, 90] };
  const byRound = [200, 600, 170];
  const peer = { ...line, contender: 'other', peer: 'other', p50Ns: 200, byRound };
  const verdict = (results: readonly object[]): unknown =>
    judge(results, [goal]).map((v: { measured: number; met: boolean }) => [v.measured, v.met]);

  t.deepEqual(verdict([own, peer]), [[2, true]]);
  t.deepEqual(verdict([own, { ...peer, byRound: [199, 597, 170] }]), [[1.99, false]]);
  t.deepEqual(verdict([own]), [], 'no verdict without the peer');
});

test('[M13] percentiles are exact, by nearest rank', async (t) => {
  const { percentiles } = await import(new URL('stats.js', BENCHES).href);
  const samples = Float64Array.from({ length: 1000 }, (_, i) => 1000 - i);
  t.deepEqual(percentiles(samples), { p50: 500, p90: 900, p99: 990, p999: 999 });
  t.throws(() => percentiles(new Float64Array()), { instanceOf: RangeError });
});
