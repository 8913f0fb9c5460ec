/**
 * Loads the addon, and says what to do where there is none.
 *
 * The loader next to the addon (`binding/index.cjs`, written by `napi build`) knows which file and
 * which platform package to look for. It is CommonJS, and loaded synchronously so that `require()`
 * of this package works too.
 */

import { createRequire } from 'node:module';
import { arch, platform } from 'node:process';

import { BusbarError } from '../errors.js';
import type { Native } from './binding.js';

/** Platforms with a package of their own, `@busbar/binding-…`. */
const PREBUILT: readonly string[] = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
];

/** The addon. */
export const native: Native = load();

/** Where the addon was loaded from: beside it lies what is shipped with it. */
export function addonPath(): string {
  const modules = Object.values(createRequire(import.meta.url).cache);
  const addon = modules.find((one) => one?.exports === native && one.filename.endsWith('.node'));
  return addon?.filename ?? '';
}

function load(): Native {
  const require = createRequire(import.meta.url);
  try {
    return require('../../binding/index.cjs') as Native;
  } catch (error) {
    throw new BusbarError('ERR_NOT_SUPPORTED', advice(triple(), error), { cause: error });
  }
}

/** What is missing, why, and how to get it. */
function advice(name: string, error: unknown): string {
  if (!PREBUILT.includes(name)) {
    const known = PREBUILT.join(', ');
    return `there is no prebuilt binary for ${name}, only for ${known}; build it from source`;
  }
  const reasons = [...causes(error)].map((reason) => reason.message.split('\n', 1)[0]);
  const failure = reasons.find((reason) => !/cannot find (module|native)/i.test(reason ?? ''));
  const wanted = `@busbar/binding-${name}`;
  if (failure !== undefined) {
    return `the binary for ${name} (npm package ${wanted}) cannot be loaded: ${failure}`;
  }
  return (
    `there is no binary for ${name}: npm package ${wanted} is not installed; ` +
    'install again without --omit=optional, on the platform where the program runs'
  );
}

/** An error and all that led to it. */
function* causes(error: unknown): Generator<Error> {
  if (!(error instanceof Error)) return;
  yield error;
  yield* causes(error.cause);
}

/** This platform, as the names of the platform packages end. */
function triple(): string {
  const abi = { linux: isMusl() ? '-musl' : '-gnu', win32: '-msvc' };
  return `${platform}-${arch}${abi[platform as keyof typeof abi] ?? ''}`;
}

function isMusl(): boolean {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return platform === 'linux' && report.header?.glibcVersionRuntime === undefined;
}
