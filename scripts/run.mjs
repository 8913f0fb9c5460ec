/**
 * `npm start`, `npm test` and `npm run bench`: installs what is missing, builds, and runs.
 *
 *     npm start [-- options of the example]
 *     npm test [-- --only ava,tidy]
 *     npm run bench [-- options of the benchmarks]
 *
 * Plain Node without dependencies, because it runs before any is installed. A test run goes through
 * all of TEST_STEPS whatever fails on the way, and ends with what failed and the sum over them.
 * Tests of processes, sockets and timers can fail because the machine is busy: a few that fail are
 * run once more by themselves, and named at the end as flaky if they pass then.
 */
import { delimiter } from 'node:path';

import { install } from './install.mjs';
import { execute } from './execute.mjs';
import { COUNTERS, FAILURES } from './counters.mjs';

const LOOM = {
  RUSTFLAGS: '--cfg loom',
  CARGO_TARGET_DIR: `${process.env.CARGO_TARGET_DIR ?? 'target'}/loom`,
};

/** What is tested once more with an I/O thread, beside what conformance-thread.spec.ts does. */
const THREAD = { BUSBAR_DRIVE: 'thread' };
const SHARED = ['closing', 'processes', 'qos', 'reconnect', 'reliable']
  .map((name) => `__test__/${name}.spec.ts`)
  .join(' ');

/** How much of what a failed test printed is said again at the end. */
const SAID_LINES = 25;

/** With more failed tests than this, it is not the machine. */
const AGAIN_MAX = 5;

/** What runs failed tests again, by the kind of runner. */
const AGAIN = {
  cargo: (titles) => {
    const exact = titles.map((title) => `'${title}'`).join(' ');
    return `cargo test --workspace --no-fail-fast -- --exact ${exact}`;
  },
  ava: (titles) => {
    const specs = new Set(titles.map((title) => `__test__/${title.split(' › ')[0]}.spec.ts`));
    return `ava --tap --serial ${[...specs].join(' ')}`;
  },
};

const PLUGINS = { folder: 'examples/plugin-host', needs: 'build' };
const FLIGHTS = { folder: 'examples/flights', needs: 'peer' };

/**
 * What `npm test` runs. `count` says how the output is read, `needs` names a step that must have
 * passed, `folder` is where to install and run, `again` gives the command for failed tests alone.
 */
const TEST_STEPS = [
  { name: 'fmt', command: 'cargo fmt --all --check', count: 'check' },
  {
    name: 'clippy',
    command: 'cargo clippy --quiet --workspace --all-targets -- -D warnings',
    count: 'check',
  },
  {
    name: 'cargo',
    command: 'cargo test --workspace --no-fail-fast',
    count: 'cargo',
    again: AGAIN.cargo,
  },
  {
    name: 'loom',
    command: 'cargo test -p busbar-shm -p busbar-zone --profile fast --lib loom',
    count: 'cargo',
    env: LOOM,
  },
  { name: 'build', command: 'npm run build:fast', count: 'check' },
  {
    name: 'peer',
    command: 'cargo build --profile fast -p busbar-types -p busbar-zone --examples',
    count: 'check',
    needs: 'build',
  },
  { name: 'tidy', command: 'cargo xtask tidy', count: 'check', needs: 'build' },
  { name: 'types', command: 'npm run check', count: 'check', needs: 'build' },
  { name: 'lint', command: 'npm run lint', count: 'check' },
  { name: 'docs', command: 'npm run docs:check', count: 'check', needs: 'build' },
  { name: 'ava', command: 'ava --tap', count: 'tap', needs: 'peer', again: AGAIN.ava },
  {
    name: 'ava-thread',
    command: `ava --tap ${SHARED}`,
    count: 'tap',
    needs: 'peer',
    env: THREAD,
    again: AGAIN.ava,
  },
  { name: 'pack', command: 'npm run pack:test', count: 'tap', needs: 'build' },
  { name: 'plugins-types', command: 'tsc -p jsconfig.json', count: 'check', ...PLUGINS },
  {
    name: 'plugins',
    command: 'node --test --test-reporter=tap test/*.test.js',
    count: 'tap',
    ...PLUGINS,
  },
  { name: 'flights-types', command: 'tsc -p jsconfig.json', count: 'check', ...FLIGHTS },
  {
    name: 'flights',
    command: 'node --test --test-reporter=tap test/*.test.js',
    count: 'tap',
    ...FLIGHTS,
  },
  {
    name: 'flights-run',
    command: 'node main.js --rows 300000 --pings 2000',
    count: 'check',
    ...FLIGHTS,
  },
  {
    name: 'bench',
    command: "cargo bench --workspace --profile fast --bench '*' -- --test",
    count: 'check',
  },
];

const [job, ...options] = process.argv.slice(2);
const JOBS = { start, test, bench };
if (!Object.hasOwn(JOBS, job)) throw new Error(`usage: run.mjs ${Object.keys(JOBS).join(' | ')}`);
process.chdir(new URL('..', import.meta.url).pathname);
process.env.PATH = `${process.cwd()}/node_modules/.bin${delimiter}${process.env.PATH}`;
process.exitCode = await JOBS[job]();

async function start() {
  await install('.');
  await must('npm run build:fast');
  await must('cargo build --profile fast -p busbar-zone --example flights');
  await install('examples/flights');
  return (await execute(quoted('node examples/flights/main.js'))).status;
}

async function bench() {
  // What reads the lines wants nothing else.
  const aside = options.includes('--json');
  await install('.', aside);
  await must('npm run build', aside);
  return (await execute(quoted('node benches/js/main.js'))).status;
}

async function test() {
  const steps = chosenSteps();
  await install('.');
  const failedSteps = new Set();
  const total = { passed: 0, failed: 0, skipped: 0 };
  const toSay = [];
  for (const step of steps) {
    const result = failedSteps.has(step.needs) ? notRun(step) : await runStep(step);
    if (result.failed > 0) failedSteps.add(step.name);
    total.passed += result.passed;
    total.failed += result.failed;
    total.skipped += result.skipped ?? 0;
    const verdict = result.failed > 0 ? 'failed' : 'flaky';
    toSay.push(...result.failures.map((failure) => ({ ...failure, verdict, step: step.name })));
  }
  toSay.forEach(sayAgain);
  if (total.skipped > 0)
    console.log(`\n${total.skipped} skipped, because something is missing here`);
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

function chosenSteps() {
  const at = options.indexOf('--only');
  if (at < 0) return TEST_STEPS;
  const names = (options[at + 1] ?? '').split(',');
  const unknown = names.filter((name) => TEST_STEPS.every((step) => step.name !== name));
  if (unknown.length === 0) return TEST_STEPS.filter((step) => names.includes(step.name));
  throw new Error(`--only takes ${TEST_STEPS.map((step) => step.name).join(',')}`);
}

async function runStep({ name, command, count, env, folder = '.', again }) {
  console.log(`\n=== ${name}: ${command}`);
  const started = Date.now();
  await install(folder);
  const where = { env, cwd: folder, capture: true };
  const { status, output } = await execute(command, where);
  let result = judge(COUNTERS[count](output, status), status);
  let failures = [];
  if (result.failed > 0) {
    failures = FAILURES[count](output);
    // As many titles as failures: no runner broke off, so these tests are all that is wrong.
    const isWhole = failures.length === result.failed && failures.length <= AGAIN_MAX;
    if (again && isWhole)
      result = await tryAgain(again(failures.map(titleOf)), count, where, result);
    // One that broke off says in its last lines where it was.
    if (failures.length === 0) failures = [{ title: `status ${status}`, said: output }];
  }
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`--- ${name}: ${result.passed} passed, ${result.failed} failed (${seconds} s)`);
  return { ...result, failures };
}

/** The result of a step, given that its failed tests are run once more and may pass now. */
async function tryAgain(command, count, where, before) {
  console.log(`\n=== once more: ${command}`);
  const { status, output } = await execute(command, where);
  const { passed, failed } = judge(COUNTERS[count](output, status), status);
  if (failed > 0 || passed < before.failed) return before;
  return { ...before, passed: before.passed + before.failed, failed: 0 };
}

function titleOf({ title }) {
  return title;
}

/** Says at the end what failed, or did so once, with the last lines that were printed of it. */
function sayAgain({ verdict, step, title, said }) {
  console.log(`\n${verdict}: ${step}: ${title}`);
  console.log(said.trimEnd().split('\n').slice(-SAID_LINES).join('\n'));
}

/** A runner that ran nothing, or that ends badly without a failed test, is itself a failure. */
function judge({ passed, failed, skipped = 0 }, status) {
  const isBroken = failed === 0 && (status !== 0 || passed + skipped === 0);
  return { passed, failed: isBroken ? 1 : failed, skipped };
}

function notRun({ name, needs }) {
  console.log(`\n=== ${name}: not run, because ${needs} failed`);
  return { passed: 0, failed: 1, failures: [{ title: `${needs} failed`, said: '' }] };
}

async function must(command, aside = false) {
  const { status } = await execute(command, { aside });
  if (status !== 0) process.exit(status);
}

/** The command with this run's own options behind it. */
function quoted(command) {
  return [command, ...options.map((option) => JSON.stringify(option))].join(' ');
}
