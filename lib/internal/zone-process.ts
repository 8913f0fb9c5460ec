/** Options of processes, checked and as the addon takes them; and the executable. */

import { dirname, join } from 'node:path';

import { invalidArgument, show } from '../errors.js';
import type { ZoneDenial, ZoneProcessOptions } from '../zone-process.js';
import type { NativeProcessOptions } from './binding.js';
import { checkInteger, checkNames } from './checks.js';
import { addonPath } from './native.js';

const NAMES: readonly (keyof ZoneProcessOptions)[] = [
  ...(['env', 'output', 'startTimeoutMs', 'callTimeoutMs', 'crashesMax'] as const),
  ...(['crashWindowMs', 'spinMicros', 'ringBytes', 'slabBytes', 'sandbox'] as const),
];
const OUTPUTS = ['inherit', 'ignore', 'log'] as const;
const DENIALS: readonly ZoneDenial[] = ['exec', 'network', 'write'];

const DAY_MS = 86_400_000;
const KIB = 1024;
const MIB = 1024 * KIB;

/** The executable lies beside the addon, in the same package. */
function hostPath(): string {
  return join(dirname(addonPath()), 'busbar-host');
}

/**
 * What the addon takes.
 *
 * @throws BusbarError `ERR_INVALID_ARGUMENT`
 */
export function resolveProcess(options: ZoneProcessOptions = {}): NativeProcessOptions {
  checkNames(options, NAMES);
  const { output = 'inherit', sandbox = {}, ringBytes = 256 * KIB, slabBytes = 16 * MIB } = options;
  checkNames(sandbox, ['memoryBytes', 'cpuSeconds', 'files', 'deny']);
  if (!OUTPUTS.includes(output)) {
    throw invalidArgument(`output is ${show(output)}; it must be one of ${OUTPUTS.join(', ')}`);
  }
  const { deny = [] } = sandbox;
  if (!Array.isArray(deny) || !deny.every((denial) => DENIALS.includes(denial))) {
    throw invalidArgument(`deny is ${show(deny)}; it must be an array of ${DENIALS.join(', ')}`);
  }
  const { startTimeoutMs = 10_000, crashesMax = 3, crashWindowMs = 300_000 } = options;
  return {
    host: hostPath(),
    ...(options.env === undefined ? {} : { env: environment(options.env) }),
    output: OUTPUTS.indexOf(output),
    startTimeoutMs: checkInteger('startTimeoutMs', startTimeoutMs, 1, 600_000),
    crashesMax: checkInteger('crashesMax', crashesMax, 1, 1_000_000),
    crashWindowMs: checkInteger('crashWindowMs', crashWindowMs, 0, DAY_MS),
    ringBytes: powerOfTwo('ringBytes', ringBytes, 64 * KIB, 64 * MIB),
    slabBytes: powerOfTwo('slabBytes', slabBytes, 64 * KIB, 4096 * MIB),
    ...optional('callTimeoutMs', options.callTimeoutMs, 1, DAY_MS),
    ...optional('spinMicros', options.spinMicros, 0, 10_000),
    ...optional('memoryBytes', sandbox.memoryBytes, 16 * MIB, Number.MAX_SAFE_INTEGER),
    ...optional('cpuSeconds', sandbox.cpuSeconds, 1, 0xffff_ffff),
    ...optional('files', sandbox.files, 16, 0xffff_ffff),
    denyExec: deny.includes('exec'),
    denyNetwork: deny.includes('network'),
    denyWrite: deny.includes('write'),
  };
}

function environment(env: Readonly<Record<string, string>>): string[] {
  if (typeof env !== 'object' || env === null) {
    throw invalidArgument(`env is ${show(env)}; it must be an object of strings`);
  }
  return Object.entries(env).flatMap(([name, value]) => {
    const isName = name !== '' && !/[=\0]/.test(name);
    if (isName && typeof value === 'string' && !value.includes('\0')) return [name, value];
    throw invalidArgument(`env has ${show(name)} as ${show(value)}; that is no variable`);
  });
}

function powerOfTwo(what: string, value: number, min: number, max: number): number {
  if (Number.isInteger(Math.log2(checkInteger(what, value, min, max)))) return value;
  throw invalidArgument(`${what} is ${value}; it must be a power of two from ${min} to ${max}`);
}

function optional<K extends string>(
  what: K,
  value: number | undefined,
  min: number,
  max: number,
): { [key in K]?: number } {
  if (value === undefined) return {};
  return { [what]: checkInteger(what, value, min, max) } as { [key in K]?: number };
}
