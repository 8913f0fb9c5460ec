// @ts-check
/**
 * Numbers as people read them.
 */

/**
 * @param {number | null} ns
 * @returns {string} '850 ns', '1.42 µs', '17.5 ms'
 */
export function time(ns) {
  if (ns === null) return '–';
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  return ns < 1e6 ? `${digits(ns / 1e3)} µs` : `${digits(ns / 1e6)} ms`;
}

/**
 * @param {number} ns
 * @returns {string} '2.54 ns', and what `time` makes of longer ones
 */
export function nanoseconds(ns) {
  return ns < 1e3 ? `${digits(ns)} ns` : time(ns);
}

/**
 * @param {number} perSecond
 * @returns {string} '12.8 M/s'
 */
export function rate(perSecond) {
  if (perSecond >= 1e6) return `${digits(perSecond / 1e6)} M/s`;
  return perSecond >= 1e3 ? `${digits(perSecond / 1e3)} k/s` : `${digits(perSecond)} /s`;
}

/**
 * @param {number} perSecond
 * @returns {string} '2.4 GB/s'
 */
export function bandwidth(perSecond) {
  if (perSecond >= 1e9) return `${digits(perSecond / 1e9)} GB/s`;
  return `${digits(perSecond / 1e6)} MB/s`;
}

/**
 * @param {number} value
 * @returns {string} '25×'
 */
export function ratio(value) {
  return `${digits(value)}×`;
}

/**
 * Three significant digits without an exponent.
 *
 * @param {number} value
 * @returns {string}
 */
export function digits(value) {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
