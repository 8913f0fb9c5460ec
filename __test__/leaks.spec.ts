/**
 * Connections that come and go by the thousand leave nothing behind.
 *
 * `BUSBAR_CYCLES=5000 npx ava __test__/leaks.spec.ts` for more of them.
 */

import test from 'ava';

import { run } from './helpers/child.js';
import { ordinary } from './helpers/ends.js';
import { SCHEMES } from './helpers/pairs.js';

/** So many connections of each kind. */
const CYCLES = process.env['BUSBAR_CYCLES'] ?? '200';

for (const scheme of SCHEMES) {
  for (const how of ['client', 'server', 'both', 'refused', 'unaccepted']) {
    test(`[D37 D45] ${scheme}: connections that end by ${how} hold nothing`, async (t) => {
      const exit = await run('cycles.js', [scheme, how, CYCLES], {
        node: ['--expose-gc'],
        env: scheme === 'tls' ? { BUSBAR_SPEC_TLS: JSON.stringify(ordinary()) } : {},
        deadlineMs: 110_000,
      });
      t.like(exit, { code: 0, late: false }, exit.stderr);
    });
  }
}
