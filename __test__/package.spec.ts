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
