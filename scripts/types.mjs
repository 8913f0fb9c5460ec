/**
 * `npm run test:types`: the long form of what the tests do with archives. Random values of each
 * sample type go from Rust to TypeScript and back, and damaged archives, messages and files are
 * read by both.
 *
 *     npm run test:types -- [mutations] [values]
 *
 * A million mutations by default, over all types, and 10,000 values of each type.
 */
import { spawnSync } from 'node:child_process';

const [rounds = '1000000', values = '10000'] = process.argv.slice(2);
process.chdir(new URL('..', import.meta.url).pathname);

const env = { ...process.env, BUSBAR_FUZZ_ROUNDS: rounds, BUSBAR_PEER_VALUES: values };
const STEPS = [
  'cargo test --profile fast -p busbar-types -- hostile damaged random_values',
  'npm run build:fast',
  'cargo build --profile fast -p busbar-types --example peer',
  'npx ava --timeout=30m __test__/schema-peer.spec.ts __test__/schema.spec.ts',
];

process.exitCode = 0;
for (const step of STEPS) {
  console.log(`\n=== ${step}`);
  const started = Date.now();
  const { status } = spawnSync(step, { env, shell: true, stdio: 'inherit' });
  console.log(`--- ${((Date.now() - started) / 1000).toFixed(1)} s`);
  if (status !== 0) process.exitCode = 1;
}
