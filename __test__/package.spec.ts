/** What the package is made of. */

import { readFileSync } from 'node:fs';

import test from 'ava';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

/** A library, where its version is locked, and a place that could not do without it. */
const LIBRARIES: readonly (readonly [name: string, lock: RegExp, file: string, use: RegExp])[] = [
  ['napi', /name = "napi"\nversion = "3\./, 'crates/busbar-node/src/lib.rs', /#\[napi/],
  [
    'libloading',
    /name = "libloading"/,
    'crates/busbar-node/src/driver/uv/libuv.rs',
    /Library::this/,
  ],
  [
    'dashmap',
    /name = "dashmap"\nversion = "6\./,
    'crates/busbar-io/src/transport/inproc/registry.rs',
    /DashMap/,
  ],
  ['rkyv', /name = "rkyv"\nversion = "0\.8\./, 'crates/busbar-io/tests/it/archive.rs', /rkyv::/],
];

for (const [name, lock, file, use] of LIBRARIES) {
  test(`[I06 M06] ${name} is locked and used`, (t) => {
    t.regex(read('Cargo.lock'), lock);
    t.regex(read(file), use);
  });
}

/** What the way to plugins is made of: where it is, and a test that shows it. */
const STEPS: readonly (readonly [step: string, file: string, tests: string, title: RegExp])[] = [
  [
    'the registry of types',
    'crates/busbar-types/src/registry.rs',
    'crates/busbar-types/src/registry/tests.rs',
    /\[T17 T41\] 16 threads/,
  ],
  [
    'the loader, with folders to look through',
    'crates/busbar-zone/src/loader.rs',
    'crates/busbar-zone/tests/it/tree.rs',
    /\[Z14 T31\] folders are looked through/,
  ],
  [
    'a plugin of the workspace that it loads',
    'crates/busbar-zone/examples/physics.rs',
    'crates/busbar-zone/tests/it/sdk.rs',
    /\[Z01 Z03 T14\] typed arguments and results/,
  ],
  [
    'the macro',
    'crates/busbar-derive/src/lib.rs',
    'crates/busbar-types/tests/it/golden.rs',
    /\[T26 T27\] options reach the schema/,
  ],
  [
    'types on the way through pipes',
    'lib/typed.ts',
    'crates/busbar-types/src/registry/ladder/tests.rs',
    /\[T19\] the first rung/,
  ],
  [
    'compiled-in writers straight into mapped memory',
    'crates/busbar-types/src/mapped.rs',
    'crates/busbar-types/tests/it/mapped.rs',
    /\[T02 T13\] a function out of the registry writes straight into the mapping/,
  ],
  [
    'example plugins, and a program that loads them',
    'examples/plugin-rust/src/lib.rs',
    'examples/plugin-host/test/host.test.js',
    /\[T14 T20 T36 Z20 M11\] a plugin in/,
  ],
  [
    'workflows that build and load them on three systems',
    '.github/workflows/ci.yml',
    '.github/workflows/ci.yml',
    /os: \[macos-latest, windows-latest\][^]*test\/host\.test\.js/,
  ],
];

test('[Z19] npm test builds and runs plugins for tests; workflows do on three systems', (t) => {
  const steps = read('scripts/run.mjs');
  t.regex(steps, /name: 'cargo',\n\s+command: 'cargo test --workspace/);
  t.regex(steps, /name: 'plugins',\n\s+command: 'node --test [^']*test\/\*\.test\.js'/);
  // In C by the compiler alone, in Rust as examples of the workspace, as it is locked.
  t.regex(read('crates/busbar-zone/tests/it/fixtures.rs'), /Command::new\("cc"\)/);
  t.regex(read('crates/busbar-zone/tests/it/modes.rs'), /Z19\] the same plugin behaves the same/);
  t.regex(read('crates/busbar-zone/tests/it/reload.rs'), /\[Z12[^\]]*\]/);
  const workflow = read('.github/workflows/ci.yml');
  t.regex(workflow, /runs-on: ubuntu-latest[^]*run: bash \.ci\/run/);
  t.regex(
    workflow,
    /os: \[macos-latest, windows-latest\][^]*run: node --test test\/host\.test\.js/,
  );
});

for (const [step, file, tests, title] of STEPS) {
  test(`[T43] ${step}: there, and shown by a test`, (t) => {
    t.true(read(file).length > 0);
    t.regex(read(tests), title);
  });
}
