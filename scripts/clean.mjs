/**
 * Removes build output: `node scripts/clean.mjs dist`. tsc never deletes what a removed source left.
 */
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
