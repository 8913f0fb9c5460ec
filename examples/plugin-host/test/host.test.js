// @ts-check
/** Each plugin is built, loaded and called; those whose tools are missing are skipped. */
import assert from 'node:assert/strict';
import test from 'node:test';

import { check } from '../check.js';
import { build, isInstalled, LANGUAGES } from '../languages.js';

for (const language of LANGUAGES) {
  const { name, tool, mode } = language;
  const skip = isInstalled(language) ? false : `there is no ${tool} here`;
  test(
    `[T14 T20 T36 Z20 M11] a plugin in ${name} does what JavaScript does`,
    { skip },
    async () => {
      const row = await check(language, build(language), { calls: 1000 });
      assert.deepEqual([row.language, row.mode, row.checked], [name, mode, 600]);
      assert.ok(row.callsPerSecond > 0);
    },
  );
}
