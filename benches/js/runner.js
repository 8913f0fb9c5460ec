// @ts-check
/**
 * Runs a case: every contender in turn, round after round (A B A B), each round in fresh
 * processes with a warm-up first, and makes one result line of the medians over the rounds.
 */
import { countRound, UNCOUNTED } from './counting/round.js';
import { allowedCpus, canPin, describeMachine } from './machine.js';
import { Pair } from './pair.js';
import { median, medianOf } from './stats.js';

/** @typedef {import('./cases.js').Case} Case */
/** @typedef {import('./cases.js').Contender} Contender */

/**
 * @typedef {object} Settings
 * @property {number} rounds
 * @property {number} seconds length of a measured job
 * @property {number} timeoutMs bound on one round of one contender
 * @property {string | null} profileDir
 * @property {import('./counting/round.js').Tools | null} tools null = nothing is counted
 */

/**
 * @typedef {object} Round what one run of one contender gave
 * @property {number} n
 * @property {import('./stats.js').Percentiles | null} times
 * @property {number} msgPerSec
 * @property {(number | null)[]} cpus where server and client ended
 * @property {number | null} parks of both ends, per message
 * @property {number | null} bells of both ends, per message
 * @property {number | null} wakes of both ends, per message
 * @property {number} switches voluntary context switches of the processes, per message
 * @property {number} preemptions involuntary ones during the job; many = the machine was not ours
 */

/**
 * @typedef {object} Timed what a line of output says of the rounds that were timed
 * @property {string} case
 * @property {string} contender
 * @property {'latency' | 'throughput' | 'handover'} kind
 * @property {string} transport
 * @property {string | null} peer
 * @property {string} grade
 * @property {string | null} send
 * @property {string | null} wait
 * @property {number} size
 * @property {number} n
 * @property {number} rounds
 * @property {number | null} p50Ns
 * @property {number | null} p90Ns
 * @property {number | null} p99Ns
 * @property {number | null} p999Ns
 * @property {number} msgPerSec
 * @property {number} bytesPerSec
 * @property {number[]} spread the lowest and highest headline figure among the rounds
 * @property {number[]} byRound the headline figure of each round
 * @property {number | null} parks
 * @property {number | null} bells
 * @property {number | null} wakes
 * @property {number | null} switches
 * @property {number | null} preemptions
 * @property {{ placement: string, pinned: boolean, server: number[], client: number[] }} cpus
 * @property {string} node
 * @property {string} platform
 * @property {string} cpuModel
 * @property {number} cores
 * @property {string} date
 */

/**
 * One line of output; see benches/README.md
 *
 * @typedef {Timed & import('./counting/round.js').PerMessage} Result
 */

/** @typedef {{ case: string, contender: string, peer: string | null, error: string }} Failure */

/**
 * @param {Case} spec
 * @param {readonly Contender[]} contenders those of the case that are to run
 * @param {Settings} settings
 * @param {(text: string) => void} progress
 * @returns {Promise<(Result | Failure)[]>} one for each contender
 */
export async function runCase(spec, contenders, settings, progress) {
  const cpus = chooseCpus(spec.placement);
  /** @type {Map<Contender, Round[]>} */
  const rounds = new Map(contenders.map((contender) => [contender, []]));
  /** @type {Map<Contender, string>} */
  const failures = new Map();
  for (let round = 1; round <= settings.rounds; round++) {
    for (const contender of contenders) {
      if (failures.has(contender)) continue;
      progress(`${spec.id}  ${contender.name}  round ${round}/${settings.rounds}`);
      try {
        rounds.get(contender)?.push(await runRound(spec, contender, cpus, settings));
      } catch (error) {
        failures.set(contender, error instanceof Error ? error.message : String(error));
      }
    }
  }
  /** @type {(Result | Failure)[]} */
  const lines = [];
  for (const contender of contenders) {
    const { name, peer } = contender;
    try {
      if (failures.has(contender)) throw new Error(failures.get(contender));
      progress(`${spec.id}  ${name}  counting`);
      const counts = await counted(spec, contender, cpus, settings);
      lines.push({ ...summarize(spec, contender, rounds.get(contender) ?? [], cpus), ...counts });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      lines.push({ case: spec.id, contender: name, peer, error: why });
    }
  }
  return lines;
}

/**
 * @param {Case} spec
 * @param {Contender} contender
 * @param {number[] | null} cpus
 * @param {Settings} settings
 */
async function counted(spec, contender, cpus, settings) {
  const { tools } = settings;
  return tools === null ? UNCOUNTED : countRound(spec, contender, cpus, settings, tools);
}

/**
 * @param {Case} spec
 * @param {Contender} contender
 * @param {number[] | null} cpus
 * @param {Settings} settings
 * @returns {Promise<Round>}
 */
async function runRound(spec, contender, cpus, settings) {
  const { timeoutMs, profileDir } = settings;
  const pair = await Pair.open(spec, contender, { cpus, timeoutMs, profileDir, counting: null });
  try {
    const rate = await warmUp(pair, spec, settings.seconds / 2);
    const measured = clamp(rate * settings.seconds, 2, N_MAX[spec.kind]);
    const round = toRound(spec, measured, await pair.run(measured));
    await pair.close();
    return round;
  } catch (error) {
    await pair.abandon();
    throw error;
  }
}

/**
 * Runs ever longer jobs until one lasts as long as asked: by then the code is compiled, the
 * buffers are touched, and the rate tells how many messages a measured job needs.
 *
 * @param {Pair} pair
 * @param {Case} spec
 * @param {number} seconds
 * @returns {Promise<number>} messages a second
 */
async function warmUp(pair, spec, seconds) {
  let n = spec.kind === 'throughput' ? clamp((1 << 20) / spec.size, 2, 1000) : 20;
  for (;;) {
    const rate = toRound(spec, n, await pair.run(n)).msgPerSec;
    if (n / rate >= seconds || n >= N_MAX[spec.kind]) return rate;
    // Cold code is slow code: grow past what its rate suggests, but not by leaps.
    n = clamp(rate * seconds * 1.5, 2 * n, Math.min(8 * n, N_MAX[spec.kind]));
  }
}

/**
 * @param {Case} spec
 * @param {number} n
 * @param {Record<'server' | 'client', import('./end.js').JobReport>} reports
 * @returns {Round}
 */
function toRound(spec, n, { server, client }) {
  // One way: from the first send to the last message in the receiver's hands, on one clock.
  const endNs = spec.kind === 'throughput' ? server.endNs : client.endNs;
  const shared = spec.topology !== 'processes';
  const count = (/** @type {'parks' | 'bells' | 'wakes'} */ what) =>
    server.counters === null || client.counters === null
      ? null
      : (server.counters[what] + client.counters[what]) / n;
  return {
    n,
    times: client.times ?? server.times,
    msgPerSec: n / ((endNs - client.startNs) / 1e9),
    cpus: [server.cpus[1] ?? null, client.cpus[1] ?? null],
    parks: count('parks'),
    bells: count('bells'),
    wakes: count('wakes'),
    switches: (server.switches + (shared ? 0 : client.switches)) / n,
    preemptions: server.preemptions + (shared ? 0 : client.preemptions),
  };
}

/**
 * @param {Case} spec
 * @param {Contender} contender
 * @param {readonly Round[]} rounds
 * @param {number[] | null} cpus
 * @returns {Timed}
 */
function summarize(spec, contender, rounds, cpus) {
  const ns = (/** @type {keyof import('./stats.js').Percentiles} */ rank) =>
    medianOf(rounds, (round) => round.times?.[rank]);
  const msgPerSec = median(rounds.map((round) => round.msgPerSec));
  const headline = rounds.map((round) => round.times?.p50 ?? round.msgPerSec);
  const ran = (/** @type {0 | 1} */ side) =>
    [...new Set(rounds.map((round) => round.cpus[side] ?? -1))].filter((cpu) => cpu >= 0);
  return {
    case: spec.id,
    contender: contender.name,
    kind: spec.kind,
    transport: contender.transport,
    peer: contender.peer,
    grade: contender.grade,
    send: contender.options['send'] ?? null,
    wait: contender.options['wait'] ?? null,
    size: spec.size,
    n: Math.round(median(rounds.map((round) => round.n))),
    rounds: rounds.length,
    p50Ns: ns('p50'),
    p90Ns: ns('p90'),
    p99Ns: ns('p99'),
    p999Ns: ns('p999'),
    msgPerSec: Math.round(msgPerSec),
    bytesPerSec: Math.round(msgPerSec * spec.size),
    spread: [Math.round(Math.min(...headline)), Math.round(Math.max(...headline))],
    byRound: headline.map(Math.round),
    parks: perMessage(medianOf(rounds, (round) => round.parks)),
    bells: perMessage(medianOf(rounds, (round) => round.bells)),
    wakes: perMessage(medianOf(rounds, (round) => round.wakes)),
    switches: perMessage(medianOf(rounds, (round) => round.switches)),
    preemptions: medianOf(rounds, (round) => round.preemptions),
    cpus: { placement: spec.placement, pinned: cpus !== null, server: ran(0), client: ran(1) },
    ...describeMachine(),
    date: new Date().toISOString(),
  };
}

/**
 * The cores for server and client, or null where nothing can be pinned.
 *
 * @param {Case['placement']} placement
 * @returns {number[] | null}
 */
function chooseCpus(placement) {
  const [first, second] = allowedCpus();
  if (!canPin() || first === undefined) return null;
  if (placement === 'one-core') return [first, first];
  return second === undefined ? null : [first, second];
}

/**
 * @param {number | null} value
 * @returns {number | null}
 */
function perMessage(value) {
  return value === null ? null : Number(value.toPrecision(3));
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @returns {number}
 */
function clamp(value, low, high) {
  return Math.round(Math.min(high, Math.max(low, value)));
}

/** Bounds the memory of samples, and the time of a job whose warm-up ran too well. */
const N_MAX = { latency: 200_000, throughput: 20_000_000, handover: 50_000 };
