// @ts-check
/**
 * Runs plugin cases: contenders take turns, each with a process of its own in each round. Nothing
 * is pinned. A result line is made of the medians over the rounds.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { timingOf } from '../timing.js';

/** @typedef {import('./cases.js').CallCase} CallCase */
/** @typedef {import('./cases.js').Contender} Contender */
/** @typedef {import('./child.js').Answer} Answer */
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
 * @property {number} msgPerSec
 * @property {number} bytesPerSec
 * @property {number[]} spread
 * @property {number[]} byRound
 * @property {string} node
 * @property {string} platform
 * @property {string} cpuModel
 * @property {number} cores
 * @property {string} date
 */

/** Bytes of an argument. */
const SIZES = { none: 0, numbers: 16, '64B': 64 };

/**
 * @param {CallCase} spec
 * @param {readonly Contender[]} contenders
 * @param {import('./build.js').Built} built
 * @param {Settings} settings
 * @param {(text: string) => void} progress
 * @returns {Promise<(CallResult | Failure)[]>} one for each contender
 */
export async function runCalls(spec, contenders, built, settings, progress) {
  /** @type {Map<Contender, Answer[]>} */
  const answers = new Map(contenders.map((contender) => [contender, []]));
  for (let round = 1; round <= settings.rounds; round++) {
    for (const contender of contenders) {
      progress(`${spec.id}  ${contender.name}  round ${round}/${settings.rounds}`);
      answers.get(contender)?.push(await runProcess(spec, contender, built, settings));
    }
  }
  return contenders.map((contender) => summarize(spec, contender, answers.get(contender) ?? []));
}

/**
 * @param {CallCase} spec
 * @param {Contender} contender
 * @param {import('./build.js').Built} built
 * @param {Settings} settings
 * @returns {Promise<Answer>}
 */
async function runProcess({ id, manner, payload }, contender, built, settings) {
  const { seconds, timeoutMs, profileDir } = settings;
  /** @type {string[]} */
  const execArgv = [];
  if (profileDir !== null) {
    const file = `${id}-${contender.name}.cpuprofile`.replaceAll(/[^\w.-]/g, '-');
    execArgv.push('--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${file}`);
  }
  /** @type {import('./child.js').Orders} */
  const orders = { contender, manner, payload, built, seconds };
  const child = fork(CHILD, [JSON.stringify(orders)], {
    execArgv,
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  const killer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  /** @type {Answer | null} */
  let answer = null;
  child.on('message', (message) => (answer = /** @type {Answer} */ (message)));
  const ending = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  clearTimeout(killer);
  return answer ?? { error: `the process ended early (${ending})` };
}

/**
 * @param {CallCase} spec
 * @param {Contender} contender
 * @param {readonly Answer[]} answers
 * @returns {CallResult | Failure}
 */
function summarize({ id, kind, manner, payload }, { name, peer }, answers) {
  const timings = [];
  for (const answer of answers) {
    if ('error' in answer) return { case: id, contender: name, peer, error: answer.error };
    timings.push(answer);
  }
  const timing = timingOf(timings, SIZES[payload]);
  return { case: id, contender: name, kind, manner, payload, peer, ...timing };
}

const CHILD = fileURLToPath(new URL('child.js', import.meta.url));
