/** What `cargo build --profile fast -p busbar-types --examples` builds for the specs. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const target =
  process.env['CARGO_TARGET_DIR'] ?? fileURLToPath(new URL('../../target', import.meta.url));
const LIBRARY: Readonly<Record<string, string>> = {
  darwin: 'libexported_types.dylib',
  win32: 'exported_types.dll',
};

/** The Rust end of archives: crates/busbar-types/examples/peer.rs. */
export const PEER: string = built('peer');

/** Writes and reads a mapped file: crates/busbar-types/examples/mapped_file.rs. */
export const MAPPED_FILE: string = built('mapped_file');

/** A library with three types: crates/busbar-types/examples/exported_types.rs. */
export const EXPORTED_TYPES: string = built(LIBRARY[process.platform] ?? 'libexported_types.so');

function built(name: string): string {
  const path = `${target}/fast/examples/${name}`;
  if (existsSync(path)) return path;
  const command = 'cargo build --profile fast -p busbar-types --examples';
  throw new Error(`there is no ${path}; build it: ${command}`);
}
