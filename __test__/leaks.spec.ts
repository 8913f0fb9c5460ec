/** Connections that come and go by the thousand leave nothing behind. */

import test from 'ava';

import { run } from './helpers/child.js';
import { PLAIN_SCHEMES } from './helpers/pairs.js';

for (const scheme of PLAIN_SCHEMES) {
  for (const how of ['client', 'server', 'both', 'refused', 'unaccepted']) {
    test(`[D37 D45] ${scheme}: connections that end by ${how} hold nothing`, async (t) => {
      const exit = await run('cycles.js', [scheme, how, '200'], {
        node: ['--expose-gc'],
        deadlineMs: 110_000,
      });
      t.like(exit, { code: 0, late: false }, exit.stderr);
    });
  }
}
