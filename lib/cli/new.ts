/**
 * `busbar new plugin`: a project with a plugin that works. Its files are those of the examples,
 * with the plugin's name in the place of theirs.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { invalidArgument } from '../errors.js';
import { pascalCase } from '../schema/pascal.js';
import { generate } from './gen.js';

/** What a plugin can be written in. */
export type PluginLanguage = 'rust' | 'c' | 'go';

interface Template {
  /** Of the examples. */
  readonly folder: string;
  readonly files: readonly string[];
}

const COMMON = ['README.md', 'main.js', 'package.json'];
const TYPES: Template = { folder: 'plugin-c', files: ['types.json'] };

const TEMPLATES: Readonly<Record<PluginLanguage, readonly Template[]>> = {
  rust: [{ folder: 'plugin-rust', files: [...COMMON, 'Cargo.toml', 'Cargo.lock', 'src/lib.rs'] }],
  c: [{ folder: 'plugin-c', files: [...COMMON, 'plugin.c'] }, TYPES],
  go: [{ folder: 'plugin-go', files: [...COMMON, 'go.mod', 'plugin.go', 'plugin.c'] }, TYPES],
};

/** Where this package is. */
const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Writes the project into a new folder; what to do next.
 *
 * @throws BusbarError `ERR_INVALID_ARGUMENT` for a name or language that there cannot be, and if
 * the folder is there
 */
export function newPlugin(name: string, language: string, version: string): string {
  if (!/^[a-z][a-z0-9_]{0,49}$/.test(name)) {
    const message = `the name ${name} is not of small letters, digits and _, such as game_physics`;
    throw invalidArgument(message);
  }
  if (!Object.hasOwn(TEMPLATES, language)) {
    throw invalidArgument(`--lang is ${language}; it must be rust, c or go`);
  }
  const target = resolve(name);
  if (existsSync(target)) throw invalidArgument(`there is ${target} already`);
  const replace = replacer(name, target, version);
  for (const { folder, files } of TEMPLATES[language as PluginLanguage]) {
    for (const file of files) {
      const text = readFileSync(join(PACKAGE, 'examples', folder, file), 'utf8');
      mkdirSync(dirname(join(target, file)), { recursive: true });
      writeFileSync(join(target, file), replace(text));
    }
  }
  // Hashes depend on names.
  const types = join(target, 'types.json');
  if (existsSync(types)) generate([types], { out: join(target, 'types.h') });
  return `${name} is there. Next: cd ${name}, npm install, and what its README.md says.\n`;
}

function replacer(name: string, target: string, version: string): (text: string) => string {
  const crate = join(PACKAGE, 'crates/busbar-plugin');
  const isCheckout = existsSync(crate);
  const slashes = (path: string): string => path.replaceAll('\\', '/');
  const sdk = isCheckout
    ? `{ path = "${slashes(relative(target, crate))}" }`
    : `"${version.split('.').slice(0, 2).join('.')}"`;
  const dependency = isCheckout ? `file:${slashes(relative(target, PACKAGE))}` : `^${version}`;
  return (text) =>
    text
      .replaceAll('geometry', name)
      .replaceAll('Geometry', pascalCase(name))
      .replaceAll('GEOMETRY', name.toUpperCase())
      .replace('{ path = "../../crates/busbar-plugin" }', sdk)
      .replace('"file:../.."', JSON.stringify(dependency));
}

/** The folder of `busbar_plugin.h`. */
export function includeFolder(): string {
  return join(PACKAGE, 'include');
}
