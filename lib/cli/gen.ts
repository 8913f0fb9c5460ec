/** `busbar gen`: TypeScript codecs of the types in some files. */

import { readFileSync, writeFileSync } from 'node:fs';

import { sourceOf, type SourceOptions } from '../schema/source.js';
import { readTypes } from './types.js';

/** Options of `busbar gen`. */
export interface GenerateOptions {
  readonly out?: string | undefined;
  readonly u64?: SourceOptions['u64'] | undefined;
  readonly intern?: boolean | undefined;
  readonly from?: string | undefined;
  readonly check?: boolean | undefined;
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
  const text = sourceOf(readTypes(files), { u64, intern, ...from });
  const isStale = out !== undefined && contentsOf(out) !== text;
  if (out !== undefined && isStale && check !== true) writeFileSync(out, text);
  return { text, isStale };
}

function contentsOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
