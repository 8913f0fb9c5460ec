/**
 * `npm run test:fault`: conversations between two processes over a network that fails on purpose.
 *
 *     npm run test:fault -- [runs] [first seed] [condition] [reliable]
 *
 * 200 runs by default, of which each repeats by its seed. Conditions: `pieces`, `delay`,
 * `bandwidth`, `cut`, `hole`, `all`; in turn, if none is named. With `reliable`, each run is one
 * pipe, over which every message must come once. The short runs are `__test__/faults.spec.ts`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [runs = '200', ...rest] = process.argv.slice(2);
const main = fileURLToPath(new URL('../__test__/fixtures/faults/main.js', import.meta.url));
const child = spawnSync(process.execPath, [main, runs, ...rest], { stdio: 'inherit' });
process.exitCode = child.status ?? 1;
