/** What the checks of options have in common, whosever options they are. */

import { fileURLToPath } from 'node:url';

import { invalidArgument, show } from '../errors.js';

/** Whether this is an object with options. What is iterated over, such as a Map, has none. */
export function hasOptions(value: unknown): value is object {
  return value !== null && typeof value === 'object' && !(Symbol.iterator in value);
}

/** Throws unless `options` is an object. */
export function checkObject<T extends object>(options: T): T {
  if (hasOptions(options)) return options;
  throw invalidArgument(`options is ${show(options)}; it must be an object`);
}

/** Throws unless `options` is an object with no other members than `known`. */
export function checkNames(options: object, known: readonly string[]): void {
  for (const name of Object.keys(checkObject(options))) {
    if (!known.includes(name)) throw unknownOption(name, known);
  }
}

/** The error for an option that there is not: one that is misspelt must not be a default. */
export function unknownOption(name: string, known: readonly string[]): Error {
  const meant = known.filter((other) => areLike(other.toLowerCase(), name.toLowerCase()));
  const hint =
    meant.length === 0 ? `known are: ${known.join(', ')}` : `did you mean ${meant.join(' or ')}?`;
  return invalidArgument(`unknown option ${show(name)}; ${hint}`);
}

/** Whether one name begins with the other, or they differ by one letter. */
function areLike(known: string, given: string): boolean {
  const [short, long] = known.length < given.length ? [known, given] : [given, known];
  if (short.length < 3) return false;
  if (long.startsWith(short)) return true;
  let same = 0;
  while (short[same] === long[same]) same++;
  const rest = long.slice(same + 1);
  return rest === short.slice(same) || rest === short.slice(same + 1);
}

/** Throws unless the value of an option is a boolean. */
export function checkFlag(name: string, value: unknown): asserts value is boolean {
  if (typeof value === 'boolean') return;
  throw invalidArgument(`${name} is ${show(value)}; it must be true or false`);
}

/** The value, if it is an integer from `min` to `max`, and a multiple of `step`. */
export function checkInteger(
  what: string,
  value: number,
  min: number,
  max: number,
  step: number = 1,
): number {
  const fits = Number.isInteger(value) && value >= min && value <= max;
  if (fits && value % step === 0) return value;
  const kind = step === 1 ? 'an integer' : `a multiple of ${step}`;
  throw invalidArgument(`${what} is ${show(value)}; it must be ${kind} from ${min} to ${max}`);
}

/** The path that a user gave, as Node's own file functions take it: a string or a `file:` URL. */
export function pathOf(path: string | URL, what: string): string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return path;
  if (!(path instanceof URL)) {
    throw invalidArgument(`path is ${show(path)}; it must be the path or file URL of ${what}`);
  }
  try {
    return fileURLToPath(path);
  } catch (cause) {
    throw invalidArgument(`path is ${show(path.href)}; it must be a file URL: ${String(cause)}`);
  }
}
