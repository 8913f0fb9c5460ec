/**
 * The lines of JSON that benchmarks print: one short case of each kind through the harness itself,
 * every field checked; and the gate on what a message costs besides time, which is counted.
 */

import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import test from 'ava';

import { faults, type Line } from './helpers/bench-lines.js';

interface Verdict {
  readonly goal: { readonly text: string; readonly metric: string };
  readonly measured: number;
  readonly met: boolean;
}

const BENCHES = new URL('../benches/js/', import.meta.url);

const KINDS = ['latency', 'handover', 'throughput', 'typed', 'call'];

const CASES = [
  'latency/64B/one-core/busbar shm park',
  'handover/64KiB/two-cores/busbar shm loan',
  'throughput/64B/processes/busbar shm cursor',
  'throughput/64B/processes/node:net uds batched',
  'network/throughput/64B/busbar tcp owned',
  'types/position/encode/standalone/busbar',
  'plugins/sync/none/busbar inline',
];

let lines: readonly Line[] = [];

test.before(async () => {
  const out = await mkdtemp(join(tmpdir(), 'busbar-bench-lines-'));
  try {
    const main = fileURLToPath(new URL('main.js', BENCHES));
    const args = [main, ...CASES, '--quick', '--json', '--out', out];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 110_000 });
    lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
});

test('[D55] every line of every kind has the fields that are documented, within range', (t) => {
  t.deepEqual([...new Set(lines.map(({ kind }) => kind))].sort(), [...KINDS].sort());
  for (const line of lines) t.deepEqual(faults(line), [], `${line.case} ${line.contender}`);
});

test('[D55] a line that lacks a field, or has it out of range, is found', (t) => {
  const line = lines.find(({ kind }) => kind === 'latency');
  const { syscallsPerMsg: _, ...lacking } = line!;
  t.deepEqual(faults(lacking as unknown as Line), ['syscallsPerMsg: undefined']);
  t.deepEqual(faults({ ...line!, copiesPerMsg: -1 }), ['copiesPerMsg: -1']);
  t.deepEqual(faults({ ...line!, speed: 1 }), ['unknown speed']);
  t.deepEqual(faults({ ...line!, p90Ns: 1 }), ['ranks fall']);
});

const runs = (command: string, ...args: readonly string[]): boolean =>
  spawnSync(command, args, { stdio: 'ignore' }).status === 0;

const gated = process.platform === 'linux' && runs('cc', '--version') ? test : test.skip;

gated('[D55 D46] the gate: allocations, copies and system calls a message', async (t) => {
  const { judge } = (await import(new URL('goals.js', BENCHES).href)) as {
    judge: (results: readonly Line[], goals: readonly unknown[]) => Verdict[];
  };
  const { COUNT_GOALS } = (await import(new URL('counting/goals.js', BENCHES).href)) as {
    COUNT_GOALS: readonly Verdict['goal'][];
  };
  const verdicts = judge(lines, COUNT_GOALS);
  for (const { goal, measured, met } of verdicts) t.true(met, `${goal.text}: ${measured}`);
  const canTrace = lines.some(({ syscallsBy }) => typeof syscallsBy === 'string');
  if (!canTrace) t.log('system calls were not counted: neither perf nor strace works here');
  // None was left out because a figure is missing.
  const judged = COUNT_GOALS.filter(({ metric }) => canTrace || metric !== 'syscallsPerMsg');
  t.deepEqual(
    verdicts.map(({ goal }) => goal.text),
    judged.map((goal) => goal.text),
  );

  const worse = lines.map((line) => ({ ...line, allocsPerMsg: 1, syscallsPerMsg: 1 }));
  const missed = judge(worse, COUNT_GOALS).filter(({ met }) => !met);
  t.true(missed.length >= 4, 'the gate would shut');
});

test('[D55] a peer is counted like busbar, but for allocations of native code it has not', (t) => {
  const peer = lines.find(({ contender }) => contender === 'node:net uds batched')!;
  t.is(peer['allocsPerMsg'], null);
  const own = lines.find(({ contender }) => contender === 'busbar shm cursor')!;
  t.is(peer['syscallsBy'], own['syscallsBy']);
  t.is(typeof peer['copiesPerMsg'], typeof own['copiesPerMsg']);
});
