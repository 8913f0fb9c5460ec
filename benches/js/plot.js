// @ts-check
/**
 * The results of a run as one SVG page: messages and bytes a second over the message size,
 * hand-over time over the payload size, and the round trips as bars (median, whisker to p99).
 */
import { sizeName } from './cases.js';
import { barChart, barChartHeight, lineChart, page } from './chart.js';
import { bandwidth, rate, time } from './format.js';

/** @typedef {import('./runner.js').Result} Result */

/**
 * @param {readonly Result[]} results
 * @returns {string}
 */
export function plot(results) {
  /** @type {((y: number) => { height: number, svg: string })[]} */
  const charts = [];
  for (const where of ['processes', 'one-thread', 'worker']) {
    const chosen = results.filter(
      ({ case: id }) => id.startsWith('throughput/') && id.endsWith(`/${where}`),
    );
    if (chosen.length === 0) continue;
    charts.push((y) => overSize(y, `Messages a second, ${where}`, chosen, 'msgPerSec', rate));
    charts.push((y) => overSize(y, `Bytes a second, ${where}`, chosen, 'bytesPerSec', bandwidth));
  }
  const handover = results.filter(({ kind }) => kind === 'handover');
  if (handover.length > 0) {
    charts.push((y) => overSize(y, 'One-way hand-over, median', handover, 'p50Ns', time));
  }
  const latency = results.filter(({ kind }) => kind === 'latency');
  if (latency.length > 0) charts.push((y) => roundTrips(y, latency));

  let y = MARGIN;
  const drawn = charts.map((chart) => {
    const { height, svg } = chart(y);
    y += height + GAP;
    return svg;
  });
  return page(WIDTH, y, drawn);
}

/**
 * @param {number} y
 * @param {string} title
 * @param {readonly Result[]} results
 * @param {'msgPerSec' | 'bytesPerSec' | 'p50Ns'} metric
 * @param {(value: number) => string} label
 */
function overSize(y, title, results, metric, label) {
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
  const height = 320;
  const frame = { x: MARGIN, y, width: WIDTH - 2 * MARGIN, height };
  return { height, svg: lineChart(frame, title, series, { x: sizeName, y: label, ticks }) };
}

/**
 * @param {number} y
 * @param {readonly Result[]} results
 */
function roundTrips(y, results) {
  const groups = [...new Set(results.map((result) => result.case))].map((id) => ({
    name: id,
    bars: results
      .filter((result) => result.case === id)
      .map(({ contender, p50Ns, p99Ns }) => ({
        name: contender,
        color: look(contender).color,
        value: p50Ns ?? NaN,
        whisker: p99Ns ?? NaN,
      })),
  }));
  const height = barChartHeight(groups);
  const frame = { x: MARGIN, y, width: WIDTH - 2 * MARGIN, height };
  return { height, svg: barChart(frame, 'Round trip, 64 B: median, line to p99', groups, time) };
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

const WIDTH = 860;
const MARGIN = 24;
const GAP = 28;

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
