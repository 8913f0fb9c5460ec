/**
 * Runs one shell command, showing its output, and ends everything it started when it takes too long
 * or when this program is told to stop.
 */
import { spawn } from 'node:child_process';

const LIMIT_MS = 20 * 60_000;

/**
 * `aside`: what it writes to its standard output appears as an error output.
 *
 * @returns {Promise<{ status: number, output: string }>} `output` is empty unless captured.
 */
export function execute(command, { env = {}, cwd = '.', capture = false, aside = false } = {}) {
  const child = spawn(command, {
    shell: true,
    cwd,
    // A group of its own, so that a runner's children can be ended with it.
    detached: capture && process.platform !== 'win32',
    stdio: ['ignore', capture ? 'pipe' : aside ? 2 : 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
    process.stdout.write(text);
  });
  return new Promise((resolve, reject) => {
    const stop = (why) => {
      console.error(`${command}: ended: ${why}`);
      end(child, capture);
    };
    const timer = setTimeout(stop, LIMIT_MS, `took more than ${LIMIT_MS / 60_000} minutes`);
    const onSignal = (signal) => {
      stop(signal);
      process.exit(1);
    };
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
    child.once('error', reject);
    child.once('close', (status) => {
      clearTimeout(timer);
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
      resolve({ status: status ?? 1, output });
    });
  });
}

function end(child, isGroup) {
  if (isGroup && process.platform !== 'win32') process.kill(-child.pid, 'SIGKILL');
  else child.kill('SIGKILL');
}
