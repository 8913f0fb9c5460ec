/** Sudden death of the other process, again and again; `node scripts/chaos.mjs` is the long run. */

import test from 'ava';

import { run } from './helpers/child.js';

const ROUNDS = Number(process.env['BUSBAR_CHAOS_ROUNDS'] ?? 30);

test(`[D38 D39 D45] ${ROUNDS} peers killed at random moments leave nothing behind`, async (t) => {
  const deadlineMs = 60_000 + ROUNDS * 3000;
  t.timeout(deadlineMs + 10_000);
  const exit = await run('chaos.js', [String(ROUNDS)], { node: ['--expose-gc'], deadlineMs });
  t.like(exit, { code: 0, late: false }, exit.stderr);
  const { connected, received, sent } = JSON.parse(exit.stdout);
  t.log(exit.stdout);
  t.true(connected >= ROUNDS / 3 && received > 0 && sent > 0);
});
