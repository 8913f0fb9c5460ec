/** `busbar new plugin`: the project does what its README says, as somebody new would do it. */

import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

import test, { type ExecutionContext } from 'ava';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const CLI = `${PACKAGE}/dist/cli.js`;
/** Dependencies of plugins in Rust are compiled once. */
const TARGET = `${PACKAGE}/target/new-plugin`;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(cwd: string, command: string, ...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    // Variables of the test's own runner are none of the project's.
    const { CARGO_TARGET_DIR: _, NODE_OPTIONS: __, ...env } = process.env;
    execFile(command, args, { cwd, env, timeout: 600_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(`${tmpdir()}/busbar-new-`);
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

/** What `npm install` does, without a registry. */
function install(project: string): void {
  mkdirSync(`${project}/node_modules/.bin`, { recursive: true });
  symlinkSync(PACKAGE, `${project}/node_modules/busbar`);
  const shim = `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`;
  writeFileSync(`${project}/node_modules/.bin/busbar`, shim, { mode: 0o755 });
  writeFileSync(`${project}/.npmrc`, 'offline=true\n');
}

async function follow(t: ExecutionContext, language: string): Promise<void> {
  const path = folder(t);
  const made = await run(
    path,
    process.execPath,
    CLI,
    'new',
    'plugin',
    'orbit_math',
    '--lang',
    language,
  );
  t.is(made.code, 0, made.stderr);
  t.regex(made.stdout, /cd orbit_math/);
  const project = `${path}/orbit_math`;
  install(project);
  if (language === 'rust') {
    mkdirSync(TARGET, { recursive: true });
    symlinkSync(TARGET, `${project}/target`);
  }
  const readme = readFileSync(`${project}/README.md`, 'utf8');
  const commands = /```sh\n([^]*?)```/.exec(readme)?.[1] ?? '';
  const ran = await run(project, 'bash', '-euo', 'pipefail', '-c', commands);
  t.is(ran.code, 0, `${ran.stdout}\n${ran.stderr}`);
  t.is(ran.stdout, '5\n{ x: 2, y: 1 }\n');
  for (const file of ['package.json', 'main.js', 'README.md']) {
    t.notRegex(readFileSync(`${project}/${file}`, 'utf8'), /geometry/i, file);
  }
}

test('[M11 T14] a new plugin in C is built, loaded and called by its README', (t) => {
  return follow(t, 'c');
});

test('[M11 T14] a new plugin in Rust is built, loaded and called by its README', (t) => {
  t.timeout(600_000);
  return follow(t, 'rust');
});

test('[M11] a new plugin in Go is built, loaded and called by its README', async (t) => {
  t.timeout(600_000);
  const { code } = await run('.', 'go', 'version');
  if (code === 0) return follow(t, 'go');
  t.log('left out: there is no go here');
  t.pass();
});

test('[M11] what cannot be made is said, and nothing is written', async (t) => {
  const path = folder(t);
  for (const [args, message] of [
    [['new', 'plugin', 'Orbit'], /the name Orbit is not of small letters/],
    [['new', 'plugin', '../orbit'], /the name \.\.\/orbit is not/],
    [['new', 'plugin', 'orbit', '--lang', 'perl'], /--lang is perl; it must be rust, c or go/],
    [['new', 'orbit'], /new takes: plugin NAME/],
  ] as const) {
    const { code, stderr } = await run(path, process.execPath, CLI, ...args);
    t.not(code, 0);
    t.regex(stderr, message);
  }
  t.false(existsSync(`${path}/orbit`));
  mkdirSync(`${path}/orbit`);
  const { stderr } = await run(path, process.execPath, CLI, 'new', 'plugin', 'orbit');
  t.regex(stderr, /there is .*orbit already/);
});
