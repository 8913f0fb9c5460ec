/** Cap'n Proto between this package and an implementation that knows nothing of it. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

import test from 'ava';
import { Message, type Struct, type StructCtor } from 'capnp-es';

import { registry } from '../index.js';
import { EXPORTED_TYPES } from './helpers/built.js';

/** What capnp-es generates of the schema, as far as it is used here. */
interface Generated {
  readonly Event: StructCtor<EventStruct>;
}

interface EventStruct extends Struct {
  time: bigint;
  readonly position: { readonly at: Iterable<number> };
  readonly what: HappeningStruct;
  _initPosition(): { _initAt(length: number): { set(index: number, value: number): void } };
  _initWhat(): HappeningStruct;
}

interface HappeningStruct {
  which(): number;
  readonly joined: { name: string };
  readonly hit: { f0: number };
  _initJoined(): { name: string };
  _initHit(): { f0: number };
}

interface Event {
  time: number;
  position: { at: number[] };
  what: { kind: 'Joined'; value: { name: string } } | { kind: 'Hit'; value: [number] } | Left;
}
interface Left {
  kind: 'Left';
}

const EVENTS: readonly Event[] = [
  { time: 7, position: { at: [1, -2.5, 0] }, what: { kind: 'Joined', value: { name: 'größe' } } },
  { time: 2 ** 53 - 1, position: { at: [0, 0, 0] }, what: { kind: 'Hit', value: [2 ** 32 - 1] } },
  { time: 0, position: { at: [0.5, 1e30, -1e-30] }, what: { kind: 'Left' } },
];

const hasCapnp = (() => {
  try {
    execFileSync('capnp', ['--version'], { stdio: 'pipe' });
    return true;
  } catch (error) {
    if (process.env['BUSBAR_REQUIRE_CAPNP'] === '1') throw error;
    return false;
  }
})();

/** Without the `capnp` tool, which compilers of schemas are plugins of, there is nothing to ask. */
const maybe = hasCapnp ? test : test.skip;

maybe('[T37 T08] another implementation reads what is written here, and is read', async (t) => {
  // Inside of the package, where the code that is generated finds what it imports.
  const folder = mkdtempSync(fileURLToPath(new URL('.capnp-', import.meta.url)));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const root = fileURLToPath(new URL('..', import.meta.url));
  const run = (script: string, ...args: string[]): Buffer =>
    execFileSync(process.execPath, [`${root}/${script}`, ...args], { cwd: folder, stdio: 'pipe' });
  run('dist/cli.js', 'gen', EXPORTED_TYPES, '--type', 'game.Event', '-o', 'event.capnp');
  run('node_modules/capnp-es/dist/compiler/capnpc-js.mjs', '-ojs', 'event.capnp');
  const { Event } = (await import(pathToFileURL(`${folder}/event.js`).href)) as Generated;

  registry.load(EXPORTED_TYPES);
  const codec = registry.lookup<Event>('game.Event');
  for (const event of EVENTS) {
    const bytes = registry.convert('game.Event', codec.encode(event), { to: 'capnp' });
    t.deepEqual(plain(new Message(bytes, false).getRoot(Event)), rounded(event));

    const message = new Message();
    fill(message.initRoot(Event), event);
    const theirs = Buffer.from(message.toArrayBuffer());
    const archive = registry.convert('game.Event', theirs, { from: 'capnp', to: 'rkyv' });
    t.deepEqual(codec.decode(archive), rounded(event));
  }
});

/** The event as it is in 32-bit floats. */
function rounded(event: Event): Event {
  return { ...event, position: { at: event.position.at.map(Math.fround) } };
}

function plain({ time, position, what }: EventStruct): Event {
  const happened = [
    () => ({ kind: 'Joined', value: { name: what.joined.name } }) as const,
    () => ({ kind: 'Hit', value: [what.hit.f0] }) as Event['what'],
    () => ({ kind: 'Left' }) as const,
  ][what.which()];
  if (happened === undefined) throw new Error(`there is no variant ${what.which()}`);
  return { time: Number(time), position: { at: [...position.at] }, what: happened() };
}

function fill(struct: EventStruct, { time, position, what }: Event): void {
  struct.time = BigInt(time);
  const at = struct._initPosition()._initAt(position.at.length);
  for (const [index, value] of position.at.entries()) at.set(index, value);
  const happening = struct._initWhat();
  if (what.kind === 'Joined') happening._initJoined().name = what.value.name;
  else if (what.kind === 'Hit') happening._initHit().f0 = what.value[0];
  else (happening as unknown as { left: boolean }).left = true;
}
