/** Two processes on a bad network; `npm run test:fault` is the long run. */

import test from 'ava';

import { run } from './helpers/child.js';

const RUNS = Number(process.env['BUSBAR_FAULT_RUNS'] ?? 12);

test(`[D53] ${RUNS} conversations over late, slow, cut and silent connections`, async (t) => {
  const deadlineMs = 60_000 + RUNS * 5000;
  t.timeout(deadlineMs + 10_000);
  const exit = await run('faults/main.js', [String(RUNS)], { deadlineMs });
  t.log(exit.stdout);
  t.like(exit, { code: 0, late: false }, exit.stderr);
  const { runs, ends } = JSON.parse(exit.stdout);
  t.is(runs, RUNS);
  // At least one conversation of each run reaches its end, at both ends.
  t.true(ends.done >= 2 * RUNS);
});

test(`[D32 D34] ${RUNS} reliable pipes over cut connections: every message once`, async (t) => {
  const deadlineMs = 60_000 + RUNS * 5000;
  t.timeout(deadlineMs + 10_000);
  const args = [String(RUNS), String(Date.now() % 1e6), 'cut', 'reliable'];
  const exit = await run('faults/main.js', args, { deadlineMs });
  t.log(exit.stdout);
  t.like(exit, { code: 0, late: false }, exit.stderr);
  const { runs, reconnects } = JSON.parse(exit.stdout);
  t.is(runs, RUNS);
  t.true(reconnects > 0);
});
