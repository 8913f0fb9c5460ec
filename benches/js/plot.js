// @ts-check
/**
 * The results of a run as one SVG page: messages and bytes a second over the message size,
 * hand-over time over the payload size, and the round trips and typed operations as bars (median,
 * whisker to p99 or to the slowest round).
 */
import { sizeName } from './cases.js';
import { barChart, barChartHeight, lineChart, page } from './chart.js';
import { bandwidth, nanoseconds, rate, time } from './format.js';

/** @typedef {import('./runner.js').Result} Result */
/** @typedef {import('./types/runner.js').TypedResult} TypedResult */
/** @typedef {import('./plugins/runner.js').CallResult} CallResult */
/** @typedef {import('./chart.js').Frame} Frame */
/** @typedef {{ height: number, draw: (frame: Frame) => string }} Chart */

/**
 * @param {readonly import('./goals.js').Result[]} all
 * @returns {string}
 */
export function plot(all) {
  const isMessage = (/** @type {import('./goals.js').Result} */ { kind }) =>
    kind !== 'typed' && kind !== 'call';
  return arrange([
    ...messageCharts(/** @type {Result[]} */ (all.filter(isMessage))),
    ...typedCharts(all.filter((result) => result.kind === 'typed')),
    ...callCharts(all.filter((result) => result.kind === 'call')),
  ]);
}

/**
 * @param {readonly Result[]} results
 * @returns {Chart[][]}
 */
function messageCharts(results) {
  /** @type {Chart[][]} */
  const rows = [];
  const latency = results.filter(({ kind }) => kind === 'latency');
  if (latency.length > 0) rows.push([roundTrips(latency)]);
  const handover = results.filter(({ kind }) => kind === 'handover');
  if (handover.length > 0) {
    rows.push([overSize('One-way hand-over, median', handover, 'p50Ns', time)]);
  }
  for (const where of ['processes', 'one-thread', 'worker']) {
    const chosen = results.filter(
      ({ case: id }) => id.startsWith('throughput/') && id.endsWith(`/${where}`),
    );
    if (chosen.length === 0) continue;
    rows.push([
      overSize(`Messages a second, ${where}`, chosen, 'msgPerSec', rate),
      overSize(`Bytes a second, ${where}`, chosen, 'bytesPerSec', bandwidth),
    ]);
  }
  return rows;
}

/**
 * A row for each payload: what it takes in a shared process, and in one of the codec's own.
 *
 * @param {readonly TypedResult[]} results
 * @returns {Chart[][]}
 */
function typedCharts(results) {
  return [...new Set(results.map(({ payload }) => payload))].map((payload) =>
    ['mixed', 'standalone'].map((mode) => {
      const chosen = results.filter((line) => line.payload === payload && line.mode === mode);
      const groups = grouped(chosen, ({ operation }) => operation, operationBar);
      return bars(`Typed ${payload}, ${mode}: median, line to slowest round`, groups, nanoseconds);
    }),
  );
}

/**
 * A chart for each manner of calling.
 *
 * @param {readonly CallResult[]} results
 * @returns {Chart[][]}
 */
function callCharts(results) {
  return [...new Set(results.map(({ manner }) => manner))].map((manner) => {
    const chosen = results.filter((line) => line.manner === manner);
    const groups = grouped(chosen, ({ payload }) => payload, operationBar);
    return [bars(`Plugin calls, ${manner}: median, line to slowest round`, groups, nanoseconds)];
  });
}

/**
 * @param {readonly Chart[][]} rows
 * @returns {string}
 */
function arrange(rows) {
  let y = MARGIN;
  const drawn = rows.flatMap((charts) => {
    const height = Math.max(...charts.map((chart) => chart.height));
    const width = (WIDTH - 2 * MARGIN - (charts.length - 1) * GAP) / charts.length;
    const row = charts.map((chart, index) =>
      chart.draw({ x: MARGIN + index * (width + GAP), y, width, height }),
    );
    y += height + GAP;
    return row;
  });
  return page(WIDTH, y, drawn);
}

/**
 * @param {string} title
 * @param {readonly Result[]} results
 * @param {'msgPerSec' | 'bytesPerSec' | 'p50Ns'} metric
 * @param {(value: number) => string} label
 * @returns {Chart}
 */
function overSize(title, results, metric, label) {
  const names = [...new Set(results.map(({ contender }) => contender))];
  const ticks = [...new Set(results.map(({ size }) => size))].toSorted((a, b) => a - b);
  // One size alone has no extent to draw a line over.
  if (ticks.length === 1) ticks.push((ticks[0] ?? 1) * 4);
  const series = names.map((name) => ({
    ...look(name),
    name,
    points: results
      .filter(({ contender }) => contender === name)
      .map((result) => ({ x: result.size, y: result[metric] ?? NaN })),
  }));
  const labels = { x: sizeName, y: label, ticks };
  return { height: 320, draw: (frame) => lineChart(frame, title, series, labels) };
}

/**
 * @param {readonly Result[]} results
 * @returns {Chart}
 */
function roundTrips(results) {
  const groups = grouped(
    results,
    (result) => result.case,
    ({ contender, p50Ns, p99Ns }) => ({ contender, value: p50Ns ?? NaN, whisker: p99Ns ?? NaN }),
  );
  return bars('Round trip, 64 B: median, line to p99', groups, time);
}

/** @param {TypedResult | CallResult} result */
function operationBar({ contender, nsPerOp, spread: [, slowest = nsPerOp] }) {
  return { contender, value: nsPerOp, whisker: slowest };
}

/**
 * @template R
 * @param {readonly R[]} results
 * @param {(result: R) => string} groupOf
 * @param {(result: R) => { contender: string, value: number, whisker: number }} barOf
 * @returns {{ name: string, bars: import('./chart.js').Bar[] }[]}
 */
function grouped(results, groupOf, barOf) {
  return [...new Set(results.map(groupOf))].map((name) => ({
    name,
    bars: results
      .filter((result) => groupOf(result) === name)
      .map(barOf)
      .map(({ contender, value, whisker }) => {
        return { name: contender, color: look(contender).color, value, whisker };
      }),
  }));
}

/**
 * @param {string} title
 * @param {ReturnType<typeof grouped>} groups
 * @param {(value: number) => string} label
 * @returns {Chart}
 */
function bars(title, groups, label) {
  return {
    height: barChartHeight(groups),
    draw: (frame) => barChart(frame, title, groups, label),
  };
}

/**
 * The same colour for a contender in every chart.
 *
 * @param {string} contender
 * @returns {{ color: string, dash: boolean }}
 */
function look(contender) {
  const color = COLORS.find(([part]) => contender.includes(part))?.[1] ?? '#666666';
  return { color, dash: !contender.startsWith('busbar') };
}

const WIDTH = 1160;
const MARGIN = 24;
const GAP = 32;

/** First match wins; told apart without red against green. @type {readonly [string, string][]} */
const COLORS = [
  ['zeromq', '#d55e00'],
  ['batched', '#7f5a00'],
  ['node:net', '#e69f00'],
  ['postMessage', '#cc79a7'],
  ['cursor', '#003f5c'],
  ['borrowed', '#0072b2'],
  ['copied', '#0072b2'],
  ['busbar', '#56b4e9'],
];
