// @ts-check
/**
 * The results of a run as Markdown: the verdict on each goal with the ratios to the peers of the
 * same run, then a table for each case.
 */
import { bandwidth, digits, nanoseconds, rate, ratio, time } from './format.js';
import { judge, ratios } from './goals.js';

/** @typedef {import('./goals.js').Result} Result */
/** @typedef {import('./runner.js').Result} MessageResult */
/** @typedef {import('./types/runner.js').TypedResult} TypedResult */
/** @typedef {import('./plugins/runner.js').CallResult} CallResult */
/** @typedef {import('./runner.js').Failure} Failure */

/**
 * @param {readonly Result[]} results
 * @param {readonly Failure[]} failures
 * @returns {string}
 */
export function report(results, failures) {
  const parts = ['# JavaScript benchmarks', heading(results)];
  const verdicts = judge(results);
  if (verdicts.length > 0) parts.push('## Goals', goalTable(verdicts));
  for (const id of new Set(results.map((result) => result.case))) {
    parts.push(`## ${id}`, ...section(results.filter((result) => result.case === id)));
  }
  if (failures.length > 0) parts.push('## Failed', failureTable(failures));
  return `${parts.join('\n\n')}\n`;
}

/**
 * @param {readonly Result[]} lines of one case
 * @returns {string[]}
 */
function section(lines) {
  if (lines[0]?.kind === 'typed') {
    return [operationTable(/** @type {TypedResult[]} */ (lines), [], () => [])];
  }
  if (lines[0]?.kind === 'call') {
    const ranks = (/** @type {CallResult} */ { p50Ns, p90Ns, p95Ns, p99Ns }) =>
      [p50Ns, p90Ns, p95Ns, p99Ns].map(nanoseconds);
    return [operationTable(/** @type {CallResult[]} */ (lines), CALL_RANKS, ranks)];
  }
  const messages = /** @type {MessageResult[]} */ (lines);
  const isTimed = messages[0]?.kind !== 'throughput';
  return [placement(messages), isTimed ? timeTable(messages) : rateTable(messages)];
}

/**
 * @param {readonly Result[]} results
 * @returns {string}
 */
function heading(results) {
  const [first] = results;
  if (first === undefined) return 'Nothing was measured.';
  return [
    `${first.date.slice(0, 10)}, Node ${first.node}, ${first.platform}, ${first.cores} cores,`,
    `${first.cpuModel}. Medians of ${first.rounds} interleaved rounds, each in fresh processes`,
    'after a warm-up. Absolute figures drift with the machine; the ratios are of one run.',
  ].join('\n');
}

/**
 * @param {readonly import('./goals.js').Verdict[]} verdicts
 * @returns {string}
 */
function goalTable(verdicts) {
  return table(
    ['goal', 'measured', 'needed', '', 'times better than the peers in this run'],
    verdicts.map(({ goal, measured, met, ratios: all }) => [
      goal.text,
      figure(goal, measured),
      limit(goal),
      met ? 'met' : '**missed**',
      ratioList(all),
    ]),
  );
}

/**
 * @param {import('./goals.js').Goal} goal
 * @param {number} value
 * @returns {string}
 */
function figure(goal, value) {
  if (goal.peer !== undefined || goal.flatWithin !== undefined) return ratio(value);
  if (goal.metric.endsWith('PerMsg')) return digits(value);
  if (goal.metric === 'msgPerSec') return rate(value);
  return goal.metric === 'bytesPerSec' ? bandwidth(value) : time(value);
}

/**
 * @param {import('./goals.js').Goal} goal
 * @returns {string}
 */
function limit(goal) {
  const most = goal.atMost ?? goal.flatWithin;
  if (most !== undefined) return `≤ ${figure(goal, most)}`;
  return `≥ ${figure(goal, goal.atLeast ?? goal.timesBetter ?? 0)}`;
}

/**
 * @param {readonly MessageResult[]} lines
 * @returns {string}
 */
function timeTable(lines) {
  return table(
    TIME_HEAD,
    lines.map((line) => [
      line.contender,
      time(line.p50Ns),
      time(line.p90Ns),
      time(line.p99Ns),
      time(line.p999Ns),
      each(line.parks),
      each(line.bells),
      each(line.wakes),
      each(line.switches),
      ...counts(line),
      `${line.preemptions ?? '–'}`,
      ranOn(line),
      line.peer === null ? ratioList(ratios(line, lines)) : '',
    ]),
  );
}

/**
 * @param {readonly MessageResult[]} lines
 * @returns {string}
 */
function rateTable(lines) {
  return table(
    RATE_HEAD,
    lines.map((line) => [
      line.contender,
      rate(line.msgPerSec),
      bandwidth(line.bytesPerSec),
      line.spread.map(rate).join(' … '),
      each(line.parks),
      each(line.bells),
      ...counts(line),
      `${line.preemptions ?? '–'}`,
      ranOn(line),
      line.peer === null ? ratioList(ratios(line, lines)) : '',
    ]),
  );
}

/**
 * @template {TypedResult | CallResult} L
 * @param {readonly L[]} lines
 * @param {readonly string[]} ranks percentiles, where lines have them
 * @param {(line: L) => string[]} timesOf
 * @returns {string}
 */
function operationTable(lines, ranks, timesOf) {
  const [name = '', mean = '', ...others] = OPERATION_HEAD;
  return table(
    [name, mean, ...ranks, ...others],
    lines.map((line) => [
      line.contender,
      nanoseconds(line.nsPerOp),
      ...timesOf(line),
      line.spread.map(nanoseconds).join(' … '),
      rate(line.msgPerSec),
      String(line.size),
      line.peer === null ? ratioList(ratios(line, lines)) : '',
    ]),
  );
}

/**
 * @param {readonly Failure[]} failures
 * @returns {string}
 */
function failureTable(failures) {
  return table(
    ['case', 'contender', 'why'],
    failures.map(({ case: id, contender, error }) => [id, contender, error.split('\n')[0] ?? '']),
  );
}

/**
 * @param {readonly MessageResult[]} lines
 * @returns {string}
 */
function placement(lines) {
  const cpus = lines[0]?.cpus;
  const pinned = cpus?.pinned ? 'pinned' : '**not pinned: figures may flip between placements**';
  return `Placement: ${cpus?.placement}, ${pinned}. Counts are per message, both ends together.`;
}

/**
 * @param {MessageResult} line
 * @returns {string} cores of server and client at the end of each round
 */
function ranOn({ cpus }) {
  return [cpus.server, cpus.client].map((list) => list.join(',') || '?').join(' ↔ ');
}

/**
 * @param {readonly { peer: string, ratio: number }[]} all
 * @returns {string}
 */
function ratioList(all) {
  return all.map(({ peer, ratio: value }) => `${peer} ${ratio(value)}`).join(', ');
}

/** @param {MessageResult} line */
function counts({ allocsPerMsg, copiesPerMsg, syscallsPerMsg }) {
  return [allocsPerMsg, copiesPerMsg, syscallsPerMsg].map(each);
}

/**
 * @param {number | null} count
 * @returns {string}
 */
function each(count) {
  return count === null ? '–' : digits(count);
}

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 * @returns {string}
 */
function table(head, rows) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const TIME_HEAD = [
  '',
  'p50',
  'p90',
  'p99',
  'p99.9',
  'parks',
  'bells',
  'wakes',
  'switches',
  'allocations',
  'copies',
  'system calls',
  'preempted',
  'ran on',
  'p50 against the peers',
];

const RATE_HEAD = [
  '',
  'messages',
  'bytes',
  'rounds from … to',
  'parks',
  'bells',
  'allocations',
  'copies',
  'system calls',
  'preempted',
  'ran on',
  'against the peers',
];

const CALL_RANKS = ['p50', 'p90', 'p95', 'p99'];

const OPERATION_HEAD = ['', 'time', 'rounds from … to', 'a second', 'bytes', 'against the peers'];
