#!/usr/bin/env node
/** The `busbar` command: reads its arguments, runs a subcommand, and says what went wrong. */

import { parseArgs, type ParseArgsConfig } from 'node:util';

import { generate } from './cli/gen.js';
import { inspect } from './cli/inspect.js';
import { includeFolder, newPlugin } from './cli/new.js';
import { BusbarError } from './errors.js';

const USAGE = `usage: busbar <command> [options] <file...>
       busbar new plugin <name> [--lang rust|c|go]
       busbar include

  A file is a library with types (.so, .dylib, .dll, .node) or a descriptor (.json).

commands:
  gen        write TypeScript codecs: values, cursors, encoders; and the methods of plugins
    -o, --out FILE     where to; standard output otherwise. To a .capnp file goes the Cap'n Proto
                       schema of the first type, to a .h file the types as structs of C
    --u64 number       64-bit integers as numbers instead of bigints
    --intern           share equal strings of up to 8 bytes
    --from MODULE      what the file imports from; busbar/schema otherwise
    --check            write nothing; fail if the file would change
  inspect    print types, hashes, layouts and formats
    --json             as descriptors
    --type NAME        with gen and inspect: only this type, and what it mentions
  new plugin write a project with a plugin that works into a folder of its name
    --lang LANGUAGE    rust (the default), c or go
  include    print the folder of busbar_plugin.h, for compilers

options:
  -h, --help
  -v, --version
`;

const OPTIONS = {
  out: { type: 'string', short: 'o' },
  u64: { type: 'string' },
  intern: { type: 'boolean' },
  from: { type: 'string' },
  check: { type: 'boolean' },
  json: { type: 'boolean' },
  type: { type: 'string' },
  lang: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const satisfies ParseArgsConfig['options'];

/** The arguments were wrong, and how. */
class UsageError extends Error {}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args);
  const [command, ...files] = positionals;
  if (values.version === true) return print(`${(await import('./index.js')).version}\n`);
  if (values.help === true) return print(USAGE);
  if (command === undefined) return fail(`no command\n\n${USAGE}`, 2);
  if (command === 'include' && files.length === 0) return print(`${includeFolder()}\n`);
  if (command === 'new') return createNew(files, values.lang);
  if (command !== 'gen' && command !== 'inspect') {
    throw new UsageError(`there is no command ${command}`);
  }
  if (files.length === 0) throw new UsageError(`${command} needs a library or a descriptor`);
  if (command === 'inspect') return print(inspect(files, values));
  const { u64 } = values;
  if (u64 !== undefined && u64 !== 'number' && u64 !== 'bigint') {
    throw new UsageError(`--u64 is ${u64}; it must be number or bigint`);
  }
  if (values.check === true && values.out === undefined)
    throw new UsageError('--check needs --out');
  const { text, isStale } = generate(files, { ...values, u64 });
  if (values.out === undefined) return print(text);
  if (values.check !== true || !isStale) return 0;
  return fail(`${values.out} is out of date: run busbar gen`, 1);
}

async function createNew(what: readonly string[], language = 'rust'): Promise<number> {
  const [kind, name, ...others] = what;
  if (kind !== 'plugin' || name === undefined || others.length > 0) {
    throw new UsageError('new takes: plugin NAME');
  }
  return print(newPlugin(name, language, (await import('./index.js')).version));
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function fail(message: string, status: number): number {
  process.stderr.write(`busbar: ${message}\n`);
  return status;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    process.exitCode = fail(`${error.message}; busbar --help says more`, 2);
  } else {
    const code = error instanceof BusbarError ? ` (${error.code})` : '';
    process.exitCode = fail(`${error instanceof Error ? error.message : String(error)}${code}`, 1);
  }
}
