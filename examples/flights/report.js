// @ts-check
/**
 * Formats what a run has found: tables for people, one JSON object for programs.
 */

import { DISTANCE_BANDS } from './groups.js';

/** @typedef {import('./aggregate.js').Cell} Cell */
/** @typedef {import('./aggregate.js').Grouping} Grouping */
/** @typedef {import('./latency.js').Percentiles} Percentiles */

/**
 * @typedef {{
 *   aggregate: import('./aggregate.js').Aggregate,
 *   valuesCompared: number,
 *   latency: import('./latency.js').Latency,
 *   wait: string,
 *   processors: number,
 *   pipeSeconds: number,
 *   decodeSeconds: number,
 *   directSeconds: number,
 *   plugins: readonly { mode: string, seconds: number }[],
 * }} Outcome
 */

/** @param {Outcome} outcome */
export function formatJson(outcome) {
  const messages = outcome.aggregate.flights;
  const document = {
    verified: true,
    messages,
    messagesPerSecond: Math.round(messages / outcome.pipeSeconds),
    ...outcome,
  };
  return JSON.stringify(document, (_, value) => {
    return value instanceof Map ? Object.fromEntries(value) : value;
  });
}

/** @param {Outcome} outcome */
export function formatReport(outcome) {
  const { aggregate } = outcome;
  return [
    ...formatAirports('Airport of departure', aggregate.origin),
    ...formatAirports('Airport of arrival', aggregate.destination),
    ...formatGrouping('Hour of departure', [...aggregate.hour]),
    ...formatGrouping('Distance', inOrder(aggregate.distance, BANDS)),
    ...formatMeasurements(outcome),
  ].join('\n');
}

/**
 * @param {string} title
 * @param {Grouping} airports
 */
function formatAirports(title, airports) {
  const all = [...airports];
  const busiest = all.sort(([, a], [, b]) => b.flights - a.flights).slice(0, AIRPORTS_SHOWN);
  return formatGrouping(`${title} (${busiest.length} busiest of ${all.length})`, busiest);
}

/**
 * The cells of the labels that have one, in the order of the labels: a map that comes out of an
 * archive is sorted by key.
 *
 * @param {Grouping} grouping
 * @param {readonly string[]} labels
 * @returns {[string, Cell][]}
 */
function inOrder(grouping, labels) {
  return labels.flatMap((label) => {
    const cell = grouping.get(label);
    return cell === undefined ? [] : [[label, cell]];
  });
}

/**
 * @param {string} title
 * @param {[string, Cell][]} cells
 */
function formatGrouping(title, cells) {
  const rows = cells.map(([label, { flights, sum, max, late }]) => [
    label,
    flights.toLocaleString('en-US'),
    (sum / flights).toFixed(1),
    String(max),
    `${((100 * late) / flights).toFixed(1)} %`,
  ]);
  return ['', ...formatTable([title, 'flights', 'mean min', 'max min', '> 15 min'], rows)];
}

/** @param {Outcome} outcome */
function formatMeasurements({ latency, ...outcome }) {
  const messages = outcome.aggregate.flights;
  const rate = messages / outcome.pipeSeconds / 1e6;
  return [
    '',
    ...formatTable(
      [`Latency, µs (${latency.samples} pings)`, 'p50', 'p90', 'p99', 'p99.9', 'max'],
      [
        ['one way, to the aggregator', ...formatPercentiles(latency.oneWayMicros)],
        ['round trip', ...formatPercentiles(latency.roundTripMicros)],
      ],
    ),
    `wait mode ${outcome.wait}, ${outcome.processors} processors, processes not pinned`,
    `during the pings the parent slept ${latency.parks} times, was woken ${latency.wakes} times ` +
      `and had to wake the aggregator ${latency.bells} times`,
    '',
    `pipe     ${rate.toFixed(2)} M messages/s: ${messages.toLocaleString('en-US')} messages, ` +
      `written, sent and aggregated in ${outcome.pipeSeconds.toFixed(2)} s`,
    `decode   ${outcome.decodeSeconds.toFixed(2)} s reading the file, not part of the rate`,
    `check    ${outcome.valuesCompared.toLocaleString('en-US')} values equal to the direct ` +
      `computation, which took ${outcome.directSeconds.toFixed(2)} s`,
    `plugin   ${formatPlugins(outcome)}`,
  ];
}

/** @param {Pick<Outcome, 'aggregate' | 'plugins'>} outcome */
function formatPlugins({ aggregate, plugins }) {
  if (plugins.length === 0) return 'not built, so left out: npm start builds it';
  const rates = plugins.map(({ mode, seconds }) => {
    return `${(aggregate.flights / seconds / 1e6).toFixed(2)} M flights/s ${mode}`;
  });
  return `the same in Rust, packed, called and equal: ${rates.join(', ')}`;
}

/** @param {Percentiles} percentiles */
function formatPercentiles({ p50, p90, p99, p999, max }) {
  return [p50, p90, p99, p999, max].map((micros) => micros.toFixed(1));
}

/**
 * @param {string[]} header
 * @param {string[][]} rows
 */
function formatTable(header, rows) {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) => row.map((cell, column) => pad(cell, column, widths)).join('  '));
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [lines[0] ?? '', rule, ...lines.slice(1)];
}

/**
 * @param {string} cell
 * @param {number} column
 * @param {number[]} widths
 */
function pad(cell, column, widths) {
  const width = widths[column] ?? 0;
  return column === 0 ? cell.padEnd(width) : cell.padStart(width);
}

const AIRPORTS_SHOWN = 10;
const BANDS = DISTANCE_BANDS.map(({ label }) => label);
