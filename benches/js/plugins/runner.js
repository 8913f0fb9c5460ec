// @ts-check
/**
 * Runs plugin cases. Each round, every contender gets a process that serves all its cases; within
 * a case contenders take turns, a sample of some milliseconds each, so that whatever the machine is
 * at concerns all of them alike. Nothing is pinned. A result line is made of the medians.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { median } from '../stats.js';
import { precise, timingOf } from '../timing.js';

/** @typedef {import('./cases.js').CallCase} CallCase */
/** @typedef {import('./cases.js').Contender} Contender */
/** @typedef {import('./caller.js').Sample} Sample */
/** @typedef {import('./child.js').Answer} Answer */
/** @typedef {import('./child.js').Order} Order */
/** @typedef {import('../runner.js').Failure} Failure */
/** @typedef {import('../runner.js').Settings} Settings */

/**
 * @typedef {object} CallResult one line of output; see benches/README.md
 * @property {string} case
 * @property {string} contender
 * @property {'call'} kind
 * @property {string} manner
 * @property {string} payload
 * @property {string | null} peer
 * @property {number} size
 * @property {number} n
 * @property {number} rounds
 * @property {number} nsPerOp
 * @property {number} p50Ns
 * @property {number} p90Ns
 * @property {number} p95Ns
 * @property {number} p99Ns
 * @property {number} msgPerSec
 * @property {number} bytesPerSec
 * @property {number[]} spread
 * @property {number[]} byRound nanoseconds of each turn, so that ratios are taken turn by turn
 * @property {string} node
 * @property {string} platform
 * @property {string} cpuModel
 * @property {number} cores
 * @property {string} date
 */

/** @typedef {{ spec: CallCase, contenders: readonly Contender[] }} Selected */
/** @typedef {{ rounds: Sample[][], error: string | null }} Outcome samples of each round */

/** Bytes of an argument. */
const SIZES = { none: 0, numbers: 16, '64B': 64 };
/** Turns of a contender in a round. */
const SAMPLES = 8;

/**
 * @param {readonly Selected[]} cases
 * @param {import('./build.js').Built} built
 * @param {Settings} settings
 * @param {(text: string) => void} progress
 * @returns {AsyncGenerator<CallResult | Failure>} one for each contender of each case
 */
export async function* runCalls(cases, built, settings, progress) {
  /** @type {Map<CallCase, Map<Contender, Outcome>>} */
  const outcomes = new Map();
  for (const { spec, contenders } of cases) {
    outcomes.set(spec, new Map(contenders.map((it) => [it, { rounds: [], error: null }])));
  }
  for (let round = 1; round <= settings.rounds; round++) {
    const children = new Children(built, settings);
    for (const { spec, contenders } of cases) {
      progress(`${spec.id}  round ${round}/${settings.rounds}`);
      const all = /** @type {Map<Contender, Outcome>} */ (outcomes.get(spec));
      await runTurns(spec, contenders, all, children, settings.seconds);
    }
    await children.end();
  }
  for (const { spec, contenders } of cases) {
    const all = /** @type {Map<Contender, Outcome>} */ (outcomes.get(spec));
    for (const contender of contenders) yield summarize(spec, contender, all);
  }
}

/**
 * @param {CallCase} spec
 * @param {readonly Contender[]} contenders
 * @param {Map<Contender, Outcome>} outcomes
 * @param {Children} children
 * @param {number} seconds
 */
async function runTurns({ manner, payload }, contenders, outcomes, children, seconds) {
  const [warmSeconds, sampleSeconds] = [seconds / 2, seconds / 2 / SAMPLES];
  /** @type {Contender[]} */
  const running = [];
  const order = { manner, payload, warmSeconds, sampleSeconds };
  for (const contender of contenders) {
    const outcome = /** @type {Outcome} */ (outcomes.get(contender));
    const answer = await children.tell(contender, order);
    if ('error' in answer) outcome.error = answer.error;
    else running.push(contender);
    outcome.rounds.push([]);
  }
  for (let turn = 0; turn < SAMPLES; turn++) {
    for (const contender of running) {
      const outcome = /** @type {Outcome} */ (outcomes.get(contender));
      const answer = await children.tell(contender, 'sample');
      if ('ns' in answer) outcome.rounds.at(-1)?.push(answer);
      else outcome.error ??= 'error' in answer ? answer.error : 'it gave no sample';
    }
  }
}

/** The processes of a round, started when first needed. */
class Children {
  #built;
  #settings;
  /** @type {Map<string, Child>} */
  #children = new Map();

  /**
   * @param {import('./build.js').Built} built
   * @param {Settings} settings
   */
  constructor(built, settings) {
    this.#built = built;
    this.#settings = settings;
  }

  /**
   * @param {Contender} contender
   * @param {Order} order
   * @returns {Promise<Answer>}
   */
  tell({ module, form }, order) {
    const name = `${module}-${form}`;
    let child = this.#children.get(name);
    if (child === undefined || child.hasEnded) {
      child = new Child({ module, form, built: this.#built }, name, this.#settings);
      this.#children.set(name, child);
    }
    return child.tell(order);
  }

  async end() {
    await Promise.all([...this.#children.values()].map((child) => child.end()));
  }
}

class Child {
  #process;
  #timeoutMs;
  /** @type {((answer: Answer) => void) | null} */
  #waiting = null;
  /** @type {Promise<void>} */
  #ended;
  hasEnded = false;

  /**
   * @param {import('./child.js').Opening} opening
   * @param {string} name
   * @param {Settings} settings
   */
  constructor(opening, name, { timeoutMs, profileDir }) {
    /** @type {string[]} */
    const execArgv = [];
    if (profileDir !== null) {
      const file = `plugins-${name}.cpuprofile`;
      execArgv.push('--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${file}`);
    }
    const stdio = /** @type {import('node:child_process').StdioOptions} */ ([
      'ignore',
      2,
      2,
      'ipc',
    ]);
    this.#process = fork(CHILD, [JSON.stringify(opening)], { execArgv, stdio });
    this.#timeoutMs = timeoutMs;
    this.#process.on('message', (message) => this.#answer(/** @type {Answer} */ (message)));
    this.#ended = new Promise((resolve) => {
      const end = (/** @type {string} */ how) => {
        this.hasEnded = true;
        this.#answer({ error: `the process ended early (${how})` });
        resolve();
      };
      this.#process.on('error', (error) => end(error.message));
      this.#process.on('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  /**
   * @param {Order} order
   * @returns {Promise<Answer>}
   */
  tell(order) {
    return new Promise((resolve) => {
      const killer = setTimeout(() => this.#process.kill('SIGKILL'), this.#timeoutMs);
      this.#waiting = (answer) => {
        clearTimeout(killer);
        resolve(answer);
      };
      this.#process.send(order);
    });
  }

  /** @param {Answer} answer */
  #answer(answer) {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(answer);
  }

  async end() {
    const killer = setTimeout(() => this.#process.kill('SIGKILL'), this.#timeoutMs);
    if (!this.hasEnded) this.#process.send('end');
    await this.#ended;
    clearTimeout(killer);
  }
}

/**
 * @param {CallCase} spec
 * @param {Contender} contender
 * @param {Map<Contender, Outcome>} outcomes
 * @returns {CallResult | Failure}
 */
function summarize({ id, kind, manner, payload }, contender, outcomes) {
  const { name, peer } = contender;
  const { rounds, error } = /** @type {Outcome} */ (outcomes.get(contender));
  if (error !== null) return { case: id, contender: name, peer, error };
  const timing = timingOf(rounds.map(overall), SIZES[payload]);
  const blocks = Float64Array.from(rounds.flatMap((it) => it.flatMap((sample) => sample.blocks)));
  blocks.sort();
  const rank = (/** @type {number} */ share) =>
    precise(blocks[Math.max(0, Math.ceil(share * blocks.length) - 1)] ?? NaN);
  const [p50Ns, p90Ns, p95Ns, p99Ns] = [rank(0.5), rank(0.9), rank(0.95), rank(0.99)];
  const byRound = rounds.flatMap((it) => it.map(({ ns }) => precise(ns)));
  const shares = { p50Ns, p90Ns, p95Ns, p99Ns, byRound };
  return { case: id, contender: name, kind, manner, payload, peer, ...timing, ...shares };
}

/** @param {readonly Sample[]} samples */
function overall(samples) {
  return {
    ns: median(samples.map(({ ns }) => ns)),
    n: samples.reduce((sum, { n }) => sum + n, 0),
  };
}

const CHILD = fileURLToPath(new URL('child.js', import.meta.url));
