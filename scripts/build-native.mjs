/**
 * Builds the addon and the executable that plugins run in, next to each other in `binding/`.
 *
 *     node scripts/build-native.mjs --release [options of `napi build`]
 */
import { execute } from './execute.mjs';

const OPTIONS = process.argv
  .slice(2)
  .map((option) => JSON.stringify(option))
  .join(' ');
const HOST = 'busbar-host';

const target = /--target[ =]"?([\w-]+)/.exec(OPTIONS.replaceAll('" "', ' '))?.[1];
const isLinux = target === undefined ? process.platform === 'linux' : target.includes('linux');

await must(
  'napi build --platform --manifest-path crates/busbar-node/Cargo.toml ' +
    `--output-dir binding --js index.cjs --dts index.d.ts ${OPTIONS}`,
);
if (isLinux) {
  const crate = '--manifest-path crates/busbar-zone/Cargo.toml --output-dir binding';
  await must(`napi build --bin ${HOST} ${crate} ${OPTIONS}`);
}

async function must(command) {
  const { status } = await execute(command);
  if (status !== 0) process.exit(status);
}
