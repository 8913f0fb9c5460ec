// @ts-check
/** The plugins beside this folder: what builds them, and how they are best loaded. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {object} Language
 * @property {string} name
 * @property {string} id of its plugin
 * @property {string} tool without which it cannot be built
 * @property {'inline' | 'process'} mode
 * @property {(library: string) => void} build
 */

const EXAMPLES = fileURLToPath(new URL('..', import.meta.url));
const INCLUDE = join(fileURLToPath(new URL('.', import.meta.url)), 'node_modules/busbar/include');
const SHARED = ['-O2', '-shared', '-fPIC', '-Wall', '-Wextra', '-Werror', '-I', INCLUDE];

/** @type {readonly Language[]} */
export const LANGUAGES = [
  { name: 'Rust', id: 'rust.geometry', tool: 'cargo', mode: 'inline', build: buildRust },
  {
    name: 'C',
    id: 'c.geometry',
    tool: 'cc',
    mode: 'inline',
    build: (library) =>
      run('plugin-c', 'cc', ['-std=c11', ...SHARED, 'plugin.c', '-o', library, '-lm']),
  },
  {
    name: 'C++',
    id: 'cpp.geometry',
    tool: 'c++',
    mode: 'inline',
    build: (library) =>
      run('plugin-cpp', 'c++', ['-std=c++17', ...SHARED, 'plugin.cpp', '-o', library]),
  },
  {
    name: 'Go',
    id: 'go.geometry',
    tool: 'go',
    // Its calls wait for its scheduler and collector: not for the thread of an event loop.
    mode: 'process',
    build: (library) =>
      run('plugin-go', 'go', ['build', '-buildmode=c-shared', '-o', library, '.'], {
        CGO_CFLAGS: `-O2 -I${INCLUDE} -I${join(EXAMPLES, 'plugin-c')}`,
      }),
  },
];

/**
 * Whether plugins of a language can be built here, and loaded as is best for them.
 *
 * @param {Language} language
 * @returns {boolean}
 */
export function isInstalled({ tool, mode }) {
  // Processes of their own are for Linux.
  if (mode === 'process' && process.platform !== 'linux') return false;
  const { status } = spawnSync(tool, [tool === 'go' ? 'version' : '--version'], {
    stdio: 'ignore',
  });
  return status === 0;
}

/**
 * Builds a plugin.
 *
 * @param {Language} language
 * @returns {string} the library
 */
export function build({ id, build: compile }) {
  const folder = fileURLToPath(new URL('out', import.meta.url));
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const library = join(folder, libraryName(id.replace('.', '_')));
  compile(library);
  return library;
}

/** @param {string} library */
function buildRust(library) {
  run('plugin-rust', 'cargo', ['build', '--release', '--quiet', '--target-dir', 'target']);
  copyFileSync(join(EXAMPLES, 'plugin-rust/target/release', libraryName('geometry')), library);
}

/** @param {string} name */
function libraryName(name) {
  if (process.platform === 'darwin') return `lib${name}.dylib`;
  return process.platform === 'win32' ? `${name}.dll` : `lib${name}.so`;
}

/**
 * @param {string} folder of the examples
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
function run(folder, command, args, env = {}) {
  execFileSync(command, args, {
    cwd: join(EXAMPLES, folder),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}
