/** Options by name: one that is misspelt is an error, not a default. */

import { invalidArgument, show } from '../errors.js';

/** Throws unless `options` is an object with no other members than `known`. */
export function checkNames(options: unknown, known: readonly string[]): void {
  if (options === null || typeof options !== 'object') {
    throw invalidArgument(`options is ${show(options)}; it must be an object`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw unknownOption(name, known);
  }
}

/** The error for an option that there is not. */
export function unknownOption(name: string, known: readonly string[]): Error {
  return invalidArgument(`unknown option ${show(name)}; known are: ${known.join(', ')}`);
}
