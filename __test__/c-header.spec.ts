/** Headers for C and C++ of types whose names mean something there. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

import test from 'ava';

import { headerOf } from '../lib/cli/c-header.js';
import { completeDescriptor } from '../lib/schema/check.js';
import { describe, type TypeSketch } from './helpers/schemas.js';

const INCLUDE = fileURLToPath(new URL('../include', import.meta.url));

test('[T05] names that C or C++ keep for themselves are spelled otherwise', (t) => {
  const names = ['int', 'register', 'class', 'restrict', 'int_', 'template', 'Int', 'value'];
  const types: Record<string, TypeSketch> = {
    'a.Odd': Object.fromEntries(names.map((name) => [name, 'u32'])),
    'a.Kind': { enum: { Up: null, UP: null, up: null, Hash: null, UP_: null } } as TypeSketch,
    'a.Root': { odd: 'a.Odd', kind: 'a.Kind' },
  };
  const header = headerOf(completeDescriptor(describe('a.Root', types)));
  for (const name of ['int_', 'register_', 'class_', 'restrict_', 'int__', 'template_', 'Int']) {
    t.regex(header, new RegExp(`uint32_t ${name};`));
  }
  for (const [name, tag] of [
    ['UP', 0],
    ['UP_', 1],
    ['UP__', 2],
    ['HASH_', 3],
    ['UP___', 4],
  ] as const) {
    t.regex(header, new RegExp(`#define A_KIND_${name} ${tag}\\n`));
  }
  if (process.platform === 'win32') return;
  const path = mkdtempSync(`${tmpdir()}/busbar-header-`);
  t.teardown(() => rmSync(path, { recursive: true }));
  writeFileSync(`${path}/types.h`, header);
  const size = 'typedef char size[sizeof(a_Odd) == 32 ? 1 : -1];';
  for (const [compiler, file, standard] of [
    ['cc', 'check.c', '-std=c11'],
    ['c++', 'check.cpp', '-std=c++20'],
  ] as const) {
    writeFileSync(`${path}/${file}`, ['#include "types.h"', size, ''].join('\n'));
    const args = [standard, '-Wall', '-Werror', '-fsyntax-only', '-I', INCLUDE, `${path}/${file}`];
    t.notThrows(() => execFileSync(compiler, args, { stdio: 'pipe' }), compiler);
  }
});
