/** What `cargo build --profile fast -p busbar-types -p busbar-zone --examples` builds for specs. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const target =
  process.env['CARGO_TARGET_DIR'] ?? fileURLToPath(new URL('../../target', import.meta.url));

/** The Rust end of archives: crates/busbar-types/examples/peer.rs. */
export const PEER: string = built('peer');

/** Writes and reads a mapped file: crates/busbar-types/examples/mapped_file.rs. */
export const MAPPED_FILE: string = built('mapped_file');

/** A library with three types: crates/busbar-types/examples/exported_types.rs. */
export const EXPORTED_TYPES: string = built(library('exported_types'));

/** A plugin: crates/busbar-zone/examples/physics.rs. */
export const PHYSICS: string = built(library('physics'));

/** Another one, with odd habits: crates/busbar-zone/examples/quirks.rs. */
export const QUIRKS: string = built(library('quirks'));

/** Runs a program without io_uring: crates/busbar-zone/examples/without_io_uring.rs. */
export const WITHOUT_IO_URING: string = built('without_io_uring');

function library(name: string): string {
  const { platform } = process;
  if (platform === 'win32') return `${name}.dll`;
  return `lib${name}.${platform === 'darwin' ? 'dylib' : 'so'}`;
}

function built(name: string): string {
  const path = `${target}/fast/examples/${name}`;
  if (existsSync(path)) return path;
  const command = 'cargo build --profile fast -p busbar-types -p busbar-zone --examples';
  throw new Error(`there is no ${path}; build it: ${command}`);
}
