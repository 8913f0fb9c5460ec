// @ts-check
/** Counts the objects that this thread allocates on V8's heap: every one is a sample. */
import { Session } from 'node:inspector/promises';

export class HeapCounter {
  #session = new Session();

  /** @returns {Promise<HeapCounter>} which counts from now on */
  static async start() {
    const counter = new HeapCounter();
    counter.#session.connect();
    await counter.#session.post('HeapProfiler.startSampling', EVERYTHING);
    return counter;
  }

  /** @returns {Promise<number>} */
  async stop() {
    const { profile } = await this.#session.post('HeapProfiler.stopSampling');
    this.#session.disconnect();
    return profile.samples.length;
  }
}

/** Also what is garbage by the end. */
const EVERYTHING = {
  samplingInterval: 1,
  includeObjectsCollectedByMajorGC: true,
  includeObjectsCollectedByMinorGC: true,
};
