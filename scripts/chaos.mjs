/**
 * The long run of `__test__/chaos.spec.ts`: kills peers at random moments, 10,000 times by default.
 *
 *     node scripts/chaos.mjs [rounds] [seed]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [rounds = '10000', ...seed] = process.argv.slice(2);
const chaos = fileURLToPath(new URL('../__test__/fixtures/chaos.js', import.meta.url));
const args = ['--expose-gc', chaos, rounds, ...seed];
const child = spawnSync(process.execPath, args, { stdio: 'inherit' });
process.exitCode = child.status ?? 1;
