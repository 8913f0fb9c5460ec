/**
 * Thousands of connections that say nothing cost little memory: a thousand at each end, or as many
 * as the command line says (`npm run test:crowd`: ten thousand).
 */

import test from 'ava';

import { start } from './helpers/child.js';
import { BACKENDS } from './helpers/uring.js';

const CONNECTIONS = Number(process.argv[2] ?? 1000);

/** What a connection that is idle may take of each process that holds an end of it. */
const RESIDENT_MAX = 8 * 1024;

/** By so much the heap of a process may have grown for other reasons. */
const HEAP_STEP = 8 * 1024 * 1024;

interface Report {
  readonly bytes: number;
  readonly fds: number;
}

const WHERE = BACKENDS.flatMap((backend) => ['tcp', 'uds'].map((scheme) => ({ backend, scheme })));

for (const { backend, scheme } of WHERE) {
  const what = `${scheme} over ${backend}: ${CONNECTIONS} idle connections hold little memory`;

  test.serial(`[D44 D48] ${what}`, async (t) => {
    // The young generation of V8's heap is no larger for more connections.
    const node = ['--expose-gc', '--max-semi-space-size=1'];
    const options = { node, deadlineMs: 110_000, env: { BUSBAR_IO: backend } };
    const listening = start('crowd.js', ['listen', scheme, `${CONNECTIONS}`], options);
    t.teardown(() => listening.kill());
    const address = JSON.parse(await listening.line()) as string;
    const dialing = start('crowd.js', ['dial', address, `${CONNECTIONS}`], options);
    t.teardown(() => dialing.kill());
    const ends = [listening, dialing];
    const said = async (): Promise<unknown[]> => {
      const lines = await Promise.all(ends.map((end) => end.line()));
      ends.forEach((end) => end.tell('go on'));
      return lines.map((line) => JSON.parse(line) as unknown);
    };
    t.deepEqual(await said(), ['warm', 'warm']);
    const [listener, dialer] = (await said()) as [Report, Report];
    t.log(`${listener.bytes} bytes at the listener, ${dialer.bytes} at the dialer`);
    t.deepEqual([listener.fds, dialer.fds], [CONNECTIONS, CONNECTIONS]);
    // Fewer do not make up for what the heap grows by at once.
    const grown = CONNECTIONS >= 10_000 ? 0 : HEAP_STEP / CONNECTIONS;
    t.true(Math.max(listener.bytes, dialer.bytes) <= RESIDENT_MAX + grown);
    for (const end of ends) t.like(await end.exited, { code: 0, late: false });
  });
}
