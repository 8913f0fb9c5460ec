// @ts-check
/**
 * Runs typed cases: in each round one process for all mixed ones and, for each codec and payload,
 * one for its standalone ones. A result line is made of the medians over the rounds. Nothing is
 * pinned: the engine compiles and collects garbage on other cores, as it does in applications.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { median } from '../stats.js';
import { timingOf } from '../timing.js';

/** @typedef {import('./cases.js').TypedCase} TypedCase */
/** @typedef {import('./cases.js').Contender} Contender */
/** @typedef {import('../runner.js').Failure} Failure */
/** @typedef {import('../runner.js').Settings} Settings */

/**
 * @typedef {object} TypedResult one line of output; see benches/README.md
 * @property {string} case
 * @property {string} contender
 * @property {'typed'} kind
 * @property {string} payload
 * @property {string} operation
 * @property {string} mode
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

/**
 * @typedef {object} Task one contender in one case, and what its rounds gave
 * @property {TypedCase} spec
 * @property {Contender} contender
 * @property {import('./child.js').Answer[]} rounds
 * @property {string | null} error
 */

/**
 * @param {readonly { spec: TypedCase, contenders: readonly Contender[] }[]} selected
 * @param {Settings} settings
 * @param {(text: string) => void} progress
 * @returns {Promise<(TypedResult | Failure)[]>} one for each contender of each case
 */
export async function runTyped(selected, settings, progress) {
  const tasks = selected.flatMap(({ spec, contenders }) =>
    contenders.map(
      (contender) => /** @type {Task} */ ({ spec, contender, rounds: [], error: null }),
    ),
  );
  const groups = grouped(tasks);
  for (let round = 1; round <= settings.rounds; round++) {
    for (const [name, group] of groups) {
      progress(`types  ${name}  round ${round}/${settings.rounds}`);
      await runProcess(name, group, settings);
    }
  }
  return tasks.map(summarize);
}

/**
 * @param {readonly Task[]} tasks
 * @returns {Map<string, Task[]>} those that share a process, by its name
 */
function grouped(tasks) {
  /** @type {Map<string, Task[]>} */
  const groups = new Map();
  for (const task of tasks) {
    const { spec, contender } = task;
    const name = spec.mode === 'mixed' ? spec.mode : `${contender.name}/${spec.payload}`;
    groups.set(name, [...(groups.get(name) ?? []), task]);
  }
  return groups;
}

/**
 * Starts a process for the tasks and waits until it has ended: by itself, or because it has said
 * nothing for too long.
 *
 * @param {string} name
 * @param {readonly Task[]} tasks
 * @param {Settings} settings
 * @returns {Promise<void>}
 */
async function runProcess(name, tasks, { seconds, timeoutMs, profileDir }) {
  /** @type {string[]} */
  const execArgv = [];
  if (profileDir !== null) {
    const file = `types-${name.replaceAll(/[^\w-]/g, '-')}.cpuprofile`;
    execArgv.push('--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${file}`);
  }
  const jobs = tasks.map(({ spec, contender }) => {
    return { contender: contender.name, payload: spec.payload, operation: spec.operation };
  });
  /** @type {import('./child.js').Orders} */
  const orders = { jobs, mixed: name === 'mixed', seconds };
  const child = fork(CHILD, [JSON.stringify(orders)], {
    execArgv,
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  const killer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const answered = new Set();
  child.on('message', (message) => {
    const reply = /** @type {import('./child.js').Reply} */ (message);
    const task = /** @type {Task} */ (tasks[reply.index]);
    answered.add(task);
    if ('error' in reply) task.error ??= reply.error;
    else task.rounds.push(reply);
    killer.refresh();
  });
  const ending = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  clearTimeout(killer);
  for (const task of tasks) {
    if (!answered.has(task)) task.error ??= `the process ${name} ended early (${ending})`;
  }
}

/**
 * @param {Task} task
 * @returns {TypedResult | Failure}
 */
function summarize({ spec, contender, rounds, error }) {
  const { id, kind, payload, operation, mode } = spec;
  const { name, peer } = contender;
  if (error !== null) return { case: id, contender: name, peer, error };
  const size = Math.round(median(rounds.map((round) => round.size)));
  const timing = timingOf(rounds, size);
  return { case: id, contender: name, kind, payload, operation, mode, peer, ...timing };
}

const CHILD = fileURLToPath(new URL('child.js', import.meta.url));
