/**
 * Removes build output: `node scripts/clean.mjs dist`. tsc never deletes what is no longer made.
 */
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
