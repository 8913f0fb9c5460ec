// @ts-check
/** The whole program: its result, and how it ends when something goes wrong. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
/** The machine may be slow; what is tested never takes this long. */
const DEADLINE = { timeout: 120_000 };

test('[D01 D37 D46] every flight arrives once and the totals agree', DEADLINE, async () => {
  const rows = 50_000;
  const { code, stdout, stderr } = await run('--rows', `${rows}`, '--pings', '500', '--json').ended;
  assert.equal(code, 0, stderr);
  const outcome = JSON.parse(stdout);
  assert.equal(outcome.verified, true);
  assert.equal(outcome.messages, rows);
  const { aggregate, latency } = outcome;
  assert.equal(aggregate.flights, rows);
  const sums = new Set();
  for (const by of ['origin', 'destination', 'hour', 'distance']) {
    assert.equal(total(aggregate[by], 'flights'), rows, by);
    sums.add(`${total(aggregate[by], 'sum')} ${total(aggregate[by], 'late')}`);
  }
  assert.equal(sums.size, 1, 'each grouping holds the same minutes and late flights');
  assert.equal(latency.samples, 500);
  for (const { p50, p90, p99, p999, max } of [latency.oneWayMicros, latency.roundTripMicros]) {
    const percentiles = [p50, p90, p99, p999, max];
    assert.deepEqual(percentiles, [...percentiles].sort((a, b) => a - b));
    assert.ok(p50 > 0);
  }
  assert.ok(outcome.messagesPerSecond > 0);
  const { plugins } = outcome;
  assert.deepEqual(
    plugins.map((/** @type {{ mode: string }} */ { mode }) => mode),
    ['inline', 'dedicated'],
    'the plugin is built by npm test, and its results were equal',
  );
  assert.ok(plugins.every((/** @type {{ seconds: number }} */ { seconds }) => seconds > 0));
});

for (const wait of ['park', 'low-latency', 'busy']) {
  test(`[D49] the result is the same with --wait ${wait}`, DEADLINE, async () => {
    const args = ['--rows', '20000', '--pings', '100', '--wait', wait, '--json'];
    const { code, stdout, stderr } = await run(...args).ended;
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).wait, wait);
  });
}

test('one falsified message is found and is exit code 1', DEADLINE, async () => {
  const { code, stdout, stderr } = await run('--rows', '50000', '--pings', '1', '--tamper').ended;
  assert.equal(code, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /differs from the direct computation in \d values/);
  assert.match(stderr, /origin [A-Z]{3} sum: expected -?\d+, got -?\d+/);
});

test('[D39] an aggregator that is killed is exit code 1, with its end told', DEADLINE, async () => {
  const job = run();
  const { aggregator } = await job.underWay;
  process.kill(aggregator, 'SIGKILL');
  const { code, stdout, stderr } = await job.ended;
  assert.equal(code, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /the aggregator was killed by SIGKILL/);
});

test('[D39] an aggregator whose parent is killed does not live on', DEADLINE, async () => {
  const job = run();
  const { parent, aggregator } = await job.underWay;
  process.kill(parent, 'SIGKILL');
  await job.ended;
  while (isAlive(aggregator)) await delay(20);
});

test('[D08] the deadline ends a run that takes too long', DEADLINE, async () => {
  const { code, stderr } = await run('--timeout', '1', '--pings', '1000000000').ended;
  assert.equal(code, 1);
  assert.match(stderr, /not done after 1 s/);
});

test('a wrong command line is exit code 2 and explained', DEADLINE, async () => {
  const { code, stderr } = await run('--wait', 'never').ended;
  assert.equal(code, 2);
  assert.match(stderr, /--wait never: use one of park, /);
  assert.match(stderr, /usage: node main\.js/);
});

/**
 * Starts the program. `underWay` gives its processes once the first flights have been replayed.
 *
 * @param {...string} args
 */
function run(...args) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  /** @type {Promise<{ parent: number, aggregator: number }>} */
  const underWay = new Promise((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
      const found = /process (\d+) replays, (\d+) aggregates\n.* of 3,000,000/.exec(stderr);
      if (found !== null) resolve({ parent: Number(found[1]), aggregator: Number(found[2]) });
    });
  });
  const ended = once(child, 'close').then(([code]) => ({ code, stdout, stderr }));
  return { underWay, ended };
}

/**
 * @param {import('../aggregate.js').Grouping} grouping
 * @param {'flights' | 'sum' | 'late'} field
 */
function total(grouping, field) {
  return Object.values(grouping).reduce((sum, cell) => sum + cell[field], 0);
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
