/**
 * Reads what test runners print: from a runner's output to `{ passed, failed }`, and to the titles
 * of what failed with what it said.
 */

/** @typedef {{ passed: number, failed: number, skipped?: number }} Count */
/** @typedef {(output: string, status: number) => Count} Counter */

/**
 * By the kind of output.
 *
 * @type {{ check: Counter, cargo: Counter, tap: Counter }}
 */
export const COUNTERS = {
  /** A tool that only says yes or no. */
  check: (_output, status) => ({ passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1 }),

  /** `test result: ok. 3 passed; 0 failed; …`, once per test binary. */
  cargo: (output) => sum(output, /^test result: \w+\. (\d+) passed; (\d+) failed;/gm),

  /** `# pass 3`, `# fail 0` and `# skipped 0`, as ava and node:test end their TAP. */
  tap: (output) => ({
    passed: sum(output, /^# pass (\d+)()$/gm).passed,
    failed: sum(output, /^# fail (\d+)()$/gm).passed,
    skipped: sum(output, /^# skip(?:ped)? (\d+)()$/gm).passed,
  }),
};

/** A failed test, and the lines that the runner printed about it. */
/** @typedef {{ title: string, said: string }} Failure */

/**
 * By the kind of output.
 *
 * @type {{ check: Finder, cargo: Finder, tap: Finder }}
 * @typedef {(output: string) => Failure[]} Finder
 */
export const FAILURES = {
  /** A tool has no tests: all it said may matter. */
  check: () => [],

  /** `---- title stdout ----`, up to the next one or to the list of titles. */
  cargo: (output) => find(output, /^---- (.+) stdout ----\n([^]*?)(?=\n---- |\nfailures:)/gm),

  /** `not ok 7 - title`, with a block between `---` and `...` if there is more to say. */
  tap: (output) => find(output, /^not ok \d+ - (.+)(?:\n +---\n([^]*?)\n +\.\.\.$)?/gm),
};

/** @type {(output: string, pattern: RegExp) => Failure[]} */
function find(output, pattern) {
  return Array.from(output.matchAll(pattern), ([, title = '', said = '']) => ({ title, said }));
}

/** @type {(output: string, pattern: RegExp) => Count} */
function sum(output, pattern) {
  const total = { passed: 0, failed: 0 };
  for (const [, passed, failed] of output.matchAll(pattern)) {
    total.passed += Number(passed);
    total.failed += Number(failed);
  }
  return total;
}
