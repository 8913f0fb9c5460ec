// @ts-check
/**
 * Shows on stderr how far the replay is: a bar on a terminal, a line a second elsewhere.
 */

import { Presets, SingleBar } from 'cli-progress';

/**
 * @typedef {{
 *   update(flights: number, stage: string): void,
 *   stop(): void,
 * }} Progress
 */

/**
 * @param {number} total
 * @param {NodeJS.WriteStream} [stream]
 * @returns {Progress}
 */
export function createProgress(total, stream = process.stderr) {
  return stream.isTTY ? new BarProgress(total, stream) : new LineProgress(total, stream);
}

/** @implements {Progress} */
class BarProgress {
  #bar;

  /**
   * @param {number} total
   * @param {NodeJS.WriteStream} stream
   */
  constructor(total, stream) {
    this.#bar = new SingleBar(
      {
        format: '{bar} {percentage} % | {value} of {total} flights | {stage}',
        formatValue: (value, _options, type) => {
          return type === 'percentage' ? String(value).padStart(3) : value.toLocaleString('en-US');
        },
        hideCursor: true,
        stream,
      },
      Presets.shades_classic,
    );
    this.#bar.start(total, 0, { stage: 'opening' });
  }

  /**
   * @param {number} flights
   * @param {string} stage
   */
  update(flights, stage) {
    this.#bar.update(flights, { stage });
  }

  stop() {
    this.#bar.stop();
  }
}

/** @implements {Progress} */
class LineProgress {
  #total;
  #stream;
  #nextLineAt = performance.now() + LINE_INTERVAL_MS;

  /**
   * @param {number} total
   * @param {NodeJS.WritableStream} stream
   */
  constructor(total, stream) {
    this.#total = total;
    this.#stream = stream;
  }

  /**
   * @param {number} flights
   * @param {string} stage
   */
  update(flights, stage) {
    if (performance.now() < this.#nextLineAt) return;
    this.#nextLineAt = performance.now() + LINE_INTERVAL_MS;
    const count = `${flights.toLocaleString('en-US')} of ${this.#total.toLocaleString('en-US')}`;
    this.#stream.write(`flights: ${count}, ${stage}\n`);
  }

  stop() {}
}

const LINE_INTERVAL_MS = 1000;
