// @ts-check
/**
 * Builds what plugin cases call: the plugin (the example of crates/busbar-zone, by cargo) and, by
 * the C compiler, the same functions as a library for koffi, as a Node-API addon and as a program.
 */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {{ plugin: string, library: string, addon: string,
 *   program: string }} Built paths */

/**
 * @param {readonly string[]} modules those of the contenders that will run
 * @param {string} folder where the C compiler's output goes
 * @param {'release' | 'fast'} profile of the plugin
 * @returns {Built}
 */
export function build(modules, folder, profile) {
  mkdirSync(folder, { recursive: true });
  const built = {
    plugin: join(target(), profile, 'examples', libraryName('physics')),
    library: join(folder, libraryName('functions')),
    addon: join(folder, 'addon.node'),
    program: join(folder, 'program'),
  };
  if (modules.includes('busbar')) {
    const args = ['build', '--quiet', '--profile', profile, '-p', 'busbar-zone'];
    run('cargo', [...args, '--example', 'physics']);
  }
  if (modules.includes('koffi')) compile(['functions.c'], built.library, SHARED);
  if (modules.includes('spawn')) compile(['program.c', 'functions.c'], built.program, []);
  if (modules.includes('node-api') || modules.includes('spawn')) {
    const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
    const undefinedLater = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [];
    compile(['addon.c', 'functions.c'], built.addon, [
      ...SHARED,
      `-I${headers}`,
      '-DNODE_GYP_MODULE_NAME=addon',
      ...undefinedLater,
    ]);
  }
  return built;
}

function target() {
  return process.env['CARGO_TARGET_DIR'] ?? join(ROOT, 'target');
}

/** @param {string} name */
function libraryName(name) {
  const names = { darwin: `lib${name}.dylib`, win32: `${name}.dll` };
  return names[/** @type {keyof typeof names} */ (process.platform)] ?? `lib${name}.so`;
}

/**
 * @param {string[]} sources
 * @param {string} output
 * @param {string[]} more
 */
function compile(sources, output, more) {
  const files = sources.map((source) => join(NATIVE, source));
  const args = ['-O2', ...more, ...files, '-o', output, '-lm'];
  run(process.env['CC'] ?? 'cc', args);
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, args) {
  execFileSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
}

const SHARED = ['-shared', '-fPIC'];
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const NATIVE = fileURLToPath(new URL('native', import.meta.url));
