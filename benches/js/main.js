// @ts-check
/**
 * `npm run bench [-- filter…] [--quick] [--json]`: measures busbar and its peers in one run,
 * prints the results (a report, or one JSON line per case with --json) and writes both and a plot
 * to benches/out/. Progress goes to stderr. Peers are installed into benches/node_modules when
 * a selected case needs them.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { CASES } from './cases.js';
import { findTools } from './counting/round.js';
import { plot } from './plot.js';
import { build } from './plugins/build.js';
import { CALL_CASES } from './plugins/cases.js';
import { runCalls } from './plugins/runner.js';
import { report } from './report.js';
import { runCase } from './runner.js';
import { CODECS, TYPED_CASES } from './types/cases.js';
import { runTyped } from './types/runner.js';

const USAGE = `Usage: node benches/js/main.js [filter…] [options]

A filter is part of "case/contender", for example "latency", "64B/processes" or "zeromq"; a case
runs where any filter matches. "types" are the encodings of typed messages, "plugins" the calls of
native code.

  --quick          one short round: shows that everything runs, not how fast it is
  --rounds <n>     rounds per contender, interleaved (3)
  --seconds <s>    length of a measured job (0.4)
  --json           print one JSON line per case instead of the report
  --out <dir>      where results go (benches/out)
  --cpu-prof       write a CPU profile of every process to <out>/profiles; implies --rounds 1
  --list           print what would run
  --help           print this
`;

async function main() {
  const { values, positionals: filters } = parseCommandLine();
  if (values.help) return void process.stdout.write(USAGE);
  const selected = select(filters);
  if (listing(selected).length === 0) {
    throw new Error(`no case matches ${filters.join(', ')}; see --list`);
  }
  if (values.list) return void process.stdout.write(`${listing(selected).join('\n')}\n`);

  const out = values.out ?? join(BENCHES, 'out');
  const once = values.quick || values['cpu-prof'];
  const settings = {
    rounds: positive('rounds', values.rounds, once ? 1 : 3),
    seconds: positive('seconds', values.seconds, values.quick ? 0.05 : 0.4),
    timeoutMs: 30_000,
    profileDir: values['cpu-prof'] ? join(out, 'profiles') : null,
    out,
    isQuick: values.quick ?? false,
    // Profiles are of what is timed.
    tools: values['cpu-prof'] ? null : findTools(join(out, 'native')),
  };
  mkdirSync(settings.profileDir ?? out, { recursive: true });
  installPeers(selected);
  const [load = 0] = loadavg();
  if (load > 0.5) progress(`something else is running here (load ${load}): figures will be off\n`);

  /** @type {import('./goals.js').Result[]} */
  const results = [];
  /** @type {import('./runner.js').Failure[]} */
  const failures = [];
  for await (const line of run(selected, settings)) {
    if (values.json) process.stdout.write(`${JSON.stringify(line)}\n`);
    if ('error' in line) {
      failures.push(line);
      progress(`${line.case}  ${line.contender}  failed: ${line.error}\n`);
    } else {
      results.push(line);
    }
  }
  progress('');
  writeResults(out, results, failures, values.json ?? false);
  if (failures.length > 0) process.exitCode = 1;
}

function parseCommandLine() {
  return parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      json: { type: 'boolean' },
      out: { type: 'string' },
      'cpu-prof': { type: 'boolean' },
      list: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
}

/**
 * Cases share processes or not by their kind.
 *
 * @param {ReturnType<typeof select>} selected
 * @param {import('./runner.js').Settings & { out: string, isQuick: boolean }} settings
 */
async function* run({ messages, typed, calls }, settings) {
  for (const { spec, contenders } of messages) {
    yield* await runCase(spec, contenders, settings, progress);
  }
  yield* await runTyped(typed, settings, progress);
  if (calls.length === 0) return;
  const modules = calls.flatMap(({ contenders }) => contenders.map(({ module }) => module));
  const profile = settings.isQuick ? 'fast' : 'release';
  const built = build(modules, join(settings.out, 'native'), profile);
  yield* runCalls(calls, built, settings, progress);
}

/** @param {readonly string[]} filters */
function select(filters) {
  return {
    messages: matching(CASES, filters),
    typed: matching(TYPED_CASES, filters),
    calls: matching(CALL_CASES, filters),
  };
}

/**
 * @template {{ name: string }} C
 * @template {{ id: string, contenders: readonly C[] }} S
 * @param {readonly (S & { contenders: readonly C[] })[]} cases
 * @param {readonly string[]} filters
 * @returns {{ spec: S, contenders: C[] }[]} the cases with those of their contenders that match
 */
function matching(cases, filters) {
  return cases
    .map((spec) => ({
      spec,
      contenders: spec.contenders.filter(
        ({ name }) =>
          filters.length === 0 || filters.some((filter) => `${spec.id}/${name}`.includes(filter)),
      ),
    }))
    .filter(({ contenders }) => contenders.length > 0);
}

/**
 * @param {ReturnType<typeof select>} selected
 * @returns {string[]}
 */
function listing({ messages, typed, calls }) {
  return [...messages, ...typed, ...calls].flatMap(({ spec, contenders }) =>
    contenders.map(({ name }) => `${spec.id}/${name}`),
  );
}

/** @param {ReturnType<typeof select>} selected */
function installPeers({ messages, typed, calls }) {
  // In a shared process every codec has its part, also one that is not asked for.
  const shares = typed.some(({ spec }) => spec.mode === 'mixed') ? CODECS : [];
  const chosen = [...messages, ...typed, ...calls].flatMap(({ contenders }) => [...contenders]);
  const peers = [...chosen, ...shares].map(({ module }) => PACKAGES[module]);
  const isThere = (/** @type {string | undefined} */ name) =>
    name === undefined || existsSync(join(BENCHES, 'node_modules', name));
  if (peers.every(isThere)) return;
  progress('installing the peers into benches/node_modules');
  // What is native in them comes prebuilt in the packages, so no script has to run.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync('npm', args, { cwd: BENCHES, stdio: ['ignore', 2, 2] });
}

/**
 * @param {string} out
 * @param {import('./goals.js').Result[]} results
 * @param {import('./runner.js').Failure[]} failures
 * @param {boolean} json whether the lines went to stdout already
 */
function writeResults(out, results, failures, json) {
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, '-');
  const text = report(results, failures);
  const lines = [...results, ...failures].map((line) => `${JSON.stringify(line)}\n`).join('');
  for (const name of [`js-${stamp}`, 'js-latest']) {
    writeFileSync(join(out, `${name}.jsonl`), lines);
    writeFileSync(join(out, `${name}.md`), text);
    writeFileSync(join(out, `${name}.svg`), plot(results));
  }
  if (!json) process.stdout.write(text);
  process.stderr.write(`written: ${join(out, `js-${stamp}`)}.{jsonl,md,svg}\n`);
}

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} fallback
 * @returns {number}
 */
function positive(name, text, fallback) {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!(value > 0)) throw new RangeError(`--${name} must be a positive number, not ${text}`);
  return value;
}

/** @param {string} text */
function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== '') process.stderr.write(`${text}\n`);
}

const BENCHES = fileURLToPath(new URL('..', import.meta.url));

/** What a contender's module needs installed. @type {Record<string, string>} */
const PACKAGES = {
  avsc: 'avsc',
  bebop: 'bebop',
  'cbor-x': 'cbor-x',
  flatbuffers: 'flatbuffers',
  koffi: 'koffi',
  msgpackr: 'msgpackr',
  'node-api': 'node-api-headers',
  spawn: 'node-api-headers',
  'protobuf-es': '@bufbuild/protobuf',
  protobufjs: 'protobufjs',
  zeromq: 'zeromq',
};

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
