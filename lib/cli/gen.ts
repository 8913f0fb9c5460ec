/** `busbar gen`: TypeScript codecs of the types in some files, and the methods of plugins. */

import { readFileSync, writeFileSync } from 'node:fs';

import { callNative } from '../errors.js';
import { native } from '../internal/native.js';
import { subDescriptor } from '../schema/check.js';
import type { Descriptor } from '../schema/descriptor.js';
import { sourceOf, type SourceOptions } from '../schema/source.js';
import { headerOf } from './c-header.js';
import { interfacesOf, pluginsOf } from './interfaces.js';
import { chosenTypes } from './types.js';

/** Options of `busbar gen`. */
export interface GenerateOptions {
  readonly out?: string | undefined;
  readonly u64?: SourceOptions['u64'] | undefined;
  readonly intern?: boolean | undefined;
  readonly from?: string | undefined;
  readonly check?: boolean | undefined;
  readonly type?: string | undefined;
}

/** The source, and whether the file that it is to be written to holds something else. */
export interface Generated {
  readonly text: string;
  readonly isStale: boolean;
}

/** Writes the file, unless it is only to be checked. */
export function generate(files: readonly string[], options: GenerateOptions): Generated {
  const { out, check, u64 = 'bigint', intern = false } = options;
  const from = options.from === undefined ? {} : { from: options.from };
  const types = chosenTypes(files, options.type);
  const plugins = options.type === undefined ? pluginsOf(files) : [];
  const interfaces = (nameOf: (type: string) => string): string =>
    interfacesOf(plugins, types, nameOf);
  const more = plugins.length === 0 ? {} : { more: interfaces };
  const text = textOf(types, out ?? '', { u64, intern, ...from, ...more });
  const isStale = out !== undefined && contentsOf(out) !== text;
  if (out !== undefined && isStale && check !== true) writeFileSync(out, text);
  return { text, isStale };
}

/** What a file of this name holds. */
function textOf(types: Descriptor, file: string, options: SourceOptions): string {
  if (file.endsWith('.capnp')) return capnpText(types);
  return file.endsWith('.h') ? headerOf(types) : sourceOf(types, options);
}

/** The Cap'n Proto schema of the first type of the files, and of what it mentions. */
function capnpText(types: Descriptor): string {
  const root = subDescriptor(types, types.root);
  return callNative(() => native.capnpText(JSON.stringify(root)));
}

function contentsOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
