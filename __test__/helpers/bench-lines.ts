/** What each field of a benchmark's JSON line holds, by the kind of line; see benches/README.md. */

type Check = (value: unknown) => boolean;

export interface Line {
  readonly case: string;
  readonly contender: string;
  readonly kind: string;
  readonly [field: string]: unknown;
}

const text: Check = (value) => typeof value === 'string' && value !== '';
const from =
  (least: number): Check =>
  (value) =>
    typeof value === 'number' && Number.isFinite(value) && value >= least;
const whole =
  (least: number): Check =>
  (value) =>
    Number.isInteger(value) && from(least)(value);
const or =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const numbers: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((each) => from(0)(each));
const oneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value);

const COMMON: Readonly<Record<string, Check>> = {
  case: text,
  contender: text,
  peer: or(text),
  size: from(0),
  n: whole(1),
  rounds: whole(1),
  msgPerSec: whole(1),
  bytesPerSec: whole(0),
  spread: numbers,
  byRound: numbers,
  node: (value) => value === process.version,
  platform: text,
  cpuModel: text,
  cores: whole(1),
  date: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
};

const MESSAGES: Readonly<Record<string, Check>> = {
  ...COMMON,
  transport: text,
  grade: oneOf('owned', 'borrowed', 'cursor', 'loan'),
  send: or(oneOf('send', 'try', 'batch', 'reserve')),
  wait: or(oneOf('park', 'balanced', 'low-latency', 'busy')),
  parks: or(from(0)),
  bells: or(from(0)),
  wakes: or(from(0)),
  switches: from(0),
  preemptions: from(0),
  allocsPerMsg: or(from(0)),
  copiesPerMsg: or(from(0)),
  syscallsPerMsg: or(from(0)),
  syscallsBy: oneOf('perf', 'strace', null),
  heapBytesPerMsg: or(from(0)),
  cpus: (value) => typeof value === 'object' && value !== null && 'pinned' in value,
};

const RANKS = ['p50Ns', 'p90Ns', 'p99Ns', 'p999Ns'];
const each = (names: readonly string[], check: Check): Record<string, Check> =>
  Object.fromEntries(names.map((name) => [name, check]));

const TIMED = { ...MESSAGES, ...each(RANKS, whole(1)) };

const KINDS: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  latency: { ...TIMED, kind: oneOf('latency') },
  handover: { ...TIMED, kind: oneOf('handover') },
  throughput: { ...MESSAGES, ...each(RANKS, oneOf(null)), kind: oneOf('throughput') },
  typed: {
    ...COMMON,
    kind: oneOf('typed'),
    payload: text,
    operation: text,
    mode: oneOf('mixed', 'standalone'),
    nsPerOp: from(0.01),
  },
  call: {
    ...COMMON,
    kind: oneOf('call'),
    manner: text,
    payload: text,
    nsPerOp: from(0.01),
    ...each(['p50Ns', 'p90Ns', 'p95Ns', 'p99Ns'], from(0.01)),
  },
};

/** What is wrong with a line: fields that are missing, unknown, or out of range. */
export function faults(line: Line): string[] {
  const fields = KINDS[line.kind];
  if (fields === undefined) return [`kind ${line.kind}: ${JSON.stringify(line)}`];
  const wrong = Object.entries(fields)
    .filter(([name, check]) => !Object.hasOwn(line, name) || !check(line[name]))
    .map(([name]) => `${name}: ${JSON.stringify(line[name])}`);
  const unknown = Object.keys(line).filter((name) => !Object.hasOwn(fields, name));
  const ranks = Object.keys(fields)
    .filter((name) => /^p\d+Ns$/.test(name))
    .map((name) => line[name])
    .filter((time) => typeof time === 'number');
  const falls = ranks.some((time, i) => i > 0 && time < ranks[i - 1]!);
  return [...wrong, ...unknown.map((name) => `unknown ${name}`), ...(falls ? ['ranks fall'] : [])];
}
