/** The table of error codes: documented, the same everywhere, and true of real errors. */

import { readFileSync } from 'node:fs';

import test from 'ava';

import { AbortError, BusbarError, CODES, type ErrorCode } from '../index.js';

interface Row {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly meaning: string;
}

const ROWS = documented();
const RETRYABLE: ReadonlySet<string> = new Set([
  'ERR_AGAIN',
  'ERR_CONNECTION_LOST',
  'ERR_CONNECTION_REFUSED',
  'ERR_EXPIRED',
  'ERR_IN_USE',
  'ERR_NOT_FOUND',
  'ERR_OUT_OF_MEMORY',
  'ERR_TIMED_OUT',
  'ERR_UNREACHABLE',
  'ERR_ZONE_CRASHED',
]);

test('[D10] docs/errors.md lists exactly the codes of the package', (t) => {
  t.deepEqual(ROWS.map(({ code }) => code).sort(), Object.keys(CODES).sort());
  t.true(ROWS.length >= 20);
});

for (const { code, retryable, meaning } of ROWS) {
  test(`[D10] ${code} is ${retryable ? '' : 'not '}retryable, as documented`, (t) => {
    t.is(CODES[code].retryable, retryable);
    t.is(RETRYABLE.has(code), retryable);
    const cause = new Error('cause');
    const error = new BusbarError(code, 'what to do', { cause });
    t.like(error, { code, retryable, name: 'BusbarError', message: 'what to do', cause });
    t.true(error instanceof Error);
    t.true(meaning.length > 40, 'says what happened, who is at fault and what to do');
  });
}

test('[D10] numbers are unique and none is 0', (t) => {
  const numbers: number[] = Object.values(CODES).map(({ number }) => number);
  t.is(new Set(numbers).size, numbers.length);
  t.false(numbers.includes(0));
});

test('[D10] an AbortError is a BusbarError with the reason as its cause', (t) => {
  const error = new AbortError('receive()', 'why not');
  t.like(error, { name: 'AbortError', code: 'ABORT_ERR', retryable: false, cause: 'why not' });
  t.true(error instanceof BusbarError);
  t.regex(error.message, /receive\(\)/);
});

function documented(): Row[] {
  const text = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
  const rows = text.matchAll(/^\| `(\w+)` \| (\d+) \| (yes|no) \| (.+) \|$/gm);
  return [...rows].map(([, code, , retryable, meaning]) => {
    return { code: code as ErrorCode, retryable: retryable === 'yes', meaning: meaning as string };
  });
}
