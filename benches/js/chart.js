// @ts-check
/**
 * Two kinds of chart as SVG fragments: lines over a logarithmic x axis, and horizontal bars with a
 * whisker. Both have a logarithmic value axis, since the contenders are decades apart. Knows
 * nothing about benchmarks; plot.js decides what is drawn.
 */

/**
 * @typedef {object} Frame where on the page a chart goes, title and legend included
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {{ name: string, color: string, dash: boolean, points: Point[] }} Series */
/** @typedef {{ name: string, color: string, value: number, whisker: number }} Bar */

/**
 * @typedef {object} Labels
 * @property {(value: number) => string} x
 * @property {(value: number) => string} y
 * @property {readonly number[]} ticks the x values to label
 */

/**
 * @param {Frame} frame
 * @param {string} title
 * @param {readonly Series[]} series
 * @param {Labels} labels
 * @returns {string}
 */
export function lineChart(frame, title, series, labels) {
  const legendRows = Math.ceil(series.length / legendColumns(frame));
  const area = inner(frame, { left: 62, bottom: 24 + 16 * legendRows });
  const values = series.flatMap(({ points }) => points.map(({ y }) => y));
  const [low, high] = decades(values);
  const [first, last] = [Math.min(...labels.ticks), Math.max(...labels.ticks)];
  const across = logScale(first, last, area.x, area.x + area.width);
  const up = logScale(low, high, area.y + area.height, area.y);
  const grid = powers(low, high).map((value) => {
    const y = up(value);
    const mark = text(area.x - 6, y + 4, labels.y(value), 'end');
    return line(area.x, y, area.x + area.width, y) + mark;
  });
  const ticks = labels.ticks.map((tick) =>
    text(across(tick), area.y + area.height + 16, labels.x(tick), 'middle'),
  );
  const lines = series.map(({ color, dash, points }) => {
    const at = points.map(({ x, y }) => `${round(across(x))},${round(up(y))}`);
    const stroke = `stroke="${color}" stroke-width="2" fill="none"${dash ? DASHED : ''}`;
    const dots = at.map((point) => {
      const [cx, cy] = point.split(',');
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="${color}"/>`;
    });
    return `<polyline points="${at.join(' ')}" ${stroke}/>${dots.join('')}`;
  });
  const legend = series.map((entry, index) =>
    legendEntry(area, entry, index, legendColumns(frame)),
  );
  return [heading(frame, title), ...grid, ...ticks, ...lines, ...legend].join('\n');
}

/**
 * @param {Frame} frame
 * @param {string} title
 * @param {readonly { name: string, bars: Bar[] }[]} groups
 * @param {(value: number) => string} label
 * @returns {string}
 */
export function barChart(frame, title, groups, label) {
  const area = inner(frame, { left: 190, bottom: 24 });
  const all = groups.flatMap(({ bars }) => bars);
  const [low, high] = decades(all.flatMap(({ value, whisker }) => [value, whisker]));
  const across = logScale(low, high, area.x, area.x + area.width - 60);
  const grid = powers(low, high).map((value) => {
    const x = across(value);
    const bottom = area.y + area.height;
    return line(x, area.y, x, bottom) + text(x, bottom + 16, label(value), 'middle');
  });
  const step = area.height / (all.length + groups.length);
  let y = area.y;
  const drawn = groups.map(({ name, bars }) => {
    const at = `x="${frame.x}" y="${round(y + step * 0.7)}"`;
    const head = `<text ${at} font-weight="600">${escape(name)}</text>`;
    y += step;
    const body = bars.map((bar) => {
      const row = oneBar(area, across, bar, { y, height: step }, label);
      y += step;
      return row;
    });
    return [head, ...body].join('\n');
  });
  return [heading(frame, title), ...grid, ...drawn].join('\n');
}

/** Height that a bar chart wants for its content. */
export function barChartHeight(/** @type {readonly { bars: Bar[] }[]} */ groups) {
  const rows = groups.reduce((sum, { bars }) => sum + bars.length + 1, 0);
  return 32 + 24 + rows * 18;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {readonly string[]} content
 * @returns {string} a whole SVG file
 */
export function page(width, height, content) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"`,
    ` viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12"`,
    ' fill="#222">\n',
    `<rect width="${width}" height="${height}" fill="#fff"/>\n`,
    content.join('\n'),
    '\n</svg>\n',
  ].join('');
}

/**
 * @param {string} raw
 * @returns {string}
 */
export function escape(raw) {
  return raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/**
 * @param {Frame} area
 * @param {(value: number) => number} across
 * @param {Bar} bar
 * @param {{ y: number, height: number }} row
 * @param {(value: number) => string} label
 * @returns {string}
 */
function oneBar(area, across, { name, color, value, whisker }, { y, height }, label) {
  const end = across(value);
  const middle = y + height / 2;
  return [
    text(area.x - 8, middle + 4, name, 'end'),
    `<rect x="${round(area.x)}" y="${round(y + 2)}" width="${round(end - area.x)}"`,
    ` height="${round(height - 4)}" fill="${color}"/>`,
    `<path d="M${round(end)} ${round(middle)}H${round(across(whisker))}"`,
    ` stroke="${color}" stroke-width="2"/>`,
    text(across(whisker) + 6, middle + 4, label(value), 'start'),
  ].join('');
}

/**
 * @param {Frame} area
 * @param {Series} series
 * @param {number} index
 * @param {number} columns
 * @returns {string}
 */
function legendEntry(area, { name, color, dash }, index, columns) {
  const x = area.x + ((index % columns) * area.width) / columns;
  const row = Math.floor(index / columns);
  const y = area.y + area.height + 36 + row * 16;
  const stroke = `stroke="${color}" stroke-width="3"${dash ? DASHED : ''}`;
  return `<path d="M${round(x)} ${y - 4}h18" ${stroke}/>${text(x + 24, y, name, 'start')}`;
}

/**
 * @param {Frame} frame
 * @returns {number}
 */
function legendColumns({ width }) {
  return Math.max(1, Math.floor(width / 240));
}

/**
 * @param {Frame} frame
 * @param {string} title
 * @returns {string}
 */
function heading(frame, title) {
  const y = frame.y + 14;
  return `<text x="${frame.x}" y="${y}" font-size="14" font-weight="700">${escape(title)}</text>`;
}

/**
 * @param {Frame} frame
 * @param {{ left: number, bottom: number }} margin
 * @returns {Frame} the plotting area
 */
function inner(frame, { left, bottom }) {
  return {
    x: frame.x + left,
    y: frame.y + 32,
    width: frame.width - left - 12,
    height: frame.height - 32 - bottom,
  };
}

/**
 * @param {number} low
 * @param {number} high
 * @param {number} from
 * @param {number} to
 * @returns {(value: number) => number}
 */
function logScale(low, high, from, to) {
  const span = Math.log(high) - Math.log(low);
  return (value) => from + ((Math.log(value) - Math.log(low)) / span) * (to - from);
}

/**
 * @param {readonly number[]} values
 * @returns {[number, number]} the powers of ten around them
 */
function decades(values) {
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values)));
  return [low, high > low ? high : low * 10];
}

/**
 * @param {number} low
 * @param {number} high
 * @returns {number[]}
 */
function powers(low, high) {
  const count = Math.round(Math.log10(high / low)) + 1;
  return Array.from({ length: count }, (_, index) => low * 10 ** index);
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {'start' | 'middle' | 'end'} anchor
 * @returns {string}
 */
function text(x, y, content, anchor) {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escape(content)}</text>`;
}

/**
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 * @returns {string}
 */
function line(x1, y1, x2, y2) {
  return `<path d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}" stroke="#ddd"/>`;
}

/**
 * @param {number} value
 * @returns {number}
 */
function round(value) {
  return Math.round(value * 10) / 10;
}

const DASHED = ' stroke-dasharray="6 4"';
