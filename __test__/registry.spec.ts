/** The registry of types: one for all threads of the process. */

import test from 'ava';

import { compile, metrics, registry, SchemaError, setLogger } from '../index.js';
import { EXPORTED_TYPES } from './helpers/built.js';
import { pairOf } from './helpers/pairs.js';
import { describe, type TypeSketch } from './helpers/schemas.js';
import { startWorker } from './helpers/workers.js';

let count = 0;

/** A name that no other test registers. */
function freshName(): string {
  return `spec.Type${count++}`;
}

function type(name: string, fields: TypeSketch = { a: 'u8' }): ReturnType<typeof describe> {
  return describe(name, { [name]: fields });
}

test('[M05 T09 T29 T30] a registered type is looked up, encodes and decodes', (t) => {
  const name = freshName();
  const info = registry.register(type(name, { a: 'u8', b: 'string' }));
  t.like(info, { name, formats: ['rkyv'] });
  t.regex(info.origin, /registered by the program/);
  t.deepEqual(registry.register(JSON.stringify(type(name, { a: 'u8', b: 'string' }))), info);
  const codec = registry.lookup<{ a: number; b: string }>(name);
  t.is(registry.lookup<{ a: number; b: string }>(name, info.hash), codec, 'made once');
  t.is(codec.hash, info.hash);
  t.deepEqual(codec.decode(codec.encode({ a: 1, b: 'two' })), { a: 1, b: 'two' });
  t.true(registry.has(name) && registry.has(name, info.hash) && !registry.has(name, 1n));
  t.is(registry.list().filter((one) => one.name === name).length, 1);
});

test('[T10] another version needs permission, and then a hash', (t) => {
  const name = freshName();
  const [first, second] = [type(name), type(name, { a: 'u16' })];
  const { hash } = registry.register(first);
  const error = t.throws(() => registry.register(second), { code: 'ERR_SCHEMA_MISMATCH' });
  const hex = (one: bigint): string => one.toString(16).padStart(16, '0');
  const other = compile(second).hash;
  for (const part of [name, hex(hash), hex(other), 'registered by the program', '.a: u16 → u8']) {
    t.true(error.message.includes(part), `${part} is not in: ${error.message}`);
  }
  t.is(registry.register(second, { allowVersions: true }).hash, other);
  const ambiguous = t.throws(() => registry.lookup(name), { code: 'ERR_SCHEMA_MISMATCH' });
  t.true(ambiguous.message.includes(hex(hash)) && ambiguous.message.includes(hex(other)));
  t.is(registry.lookup(name, other).hash, other);
  t.is(registry.lookup(name, hash).hash, hash);
  t.true(registry.unregister(name, other));
  t.false(registry.unregister(name, other));
  t.is(registry.lookup(name).hash, hash);
});

test('[T04 T06] types are known after loading their library, and gone when taken out', (t) => {
  t.false(registry.has('game.Event'));
  const types = registry.load(EXPORTED_TYPES);
  t.deepEqual(
    types.map(({ name }) => name),
    ['game.Position', 'game.Happening', 'game.Event'],
  );
  t.true(types.every(({ origin }) => origin === `plugin ${EXPORTED_TYPES}`));
  t.deepEqual(registry.load(EXPORTED_TYPES), types, 'nothing changes');
  interface Event {
    time: number;
    position: { at: number[] };
    what: { kind: string; value?: unknown };
  }
  const codec = registry.lookup<Event>('game.Event');
  const event = {
    time: 5,
    position: { at: [1, 2, 3] },
    what: { kind: 'Joined', value: { name: 'Ada' } },
  };
  t.deepEqual(codec.decode(codec.encode(event)), event);
  for (const { name, hash } of types) t.true(registry.unregister(name, hash));
  t.false(registry.has('game.Event'));
  t.throws(() => registry.load('/nowhere.so'), { code: 'ERR_NOT_FOUND', message: /nowhere/ });
  t.throws(() => registry.load('package.json'), { code: 'ERR_IO' });
  t.throws(() => registry.load(5 as never), { code: 'ERR_INVALID_ARGUMENT' });
});

test.serial(
  '[T09 T11] values become Cap’n Proto and JSON, and are counted where that is slow',
  (t) => {
    const name = freshName();
    const { hash } = registry.register(type(name, { a: 'u8', b: 'string' }));
    const codec = registry.lookup<{ a: number; b: string }>(name);
    const told: string[] = [];
    setLogger(({ level, message }) => told.push(`${level} ${message}`), 'warn');
    const value = { a: 7, b: 'a text that is not inline' };
    const archive = codec.encode(value);
    const before = metrics().serializationDowngrades;
    const json = registry.convert(name, archive, { to: 'json' });
    t.deepEqual(JSON.parse(json.toString()), value);
    const capnp = registry.convert(name, json, { from: 'json', to: 'capnp', hash });
    t.deepEqual(registry.convert(name, capnp, { from: 'capnp', to: 'rkyv' }), archive);
    setLogger(null);
    t.is(told.length, 2, told.join());
    t.regex(told[0] as string, /^warn .* has no json writer of its own/);
    const counts = registry.downgrades().filter((one) => one.name === name);
    t.deepEqual(counts, [
      { name, hash, format: 'capnp', count: 2 },
      { name, hash, format: 'json', count: 2 },
    ]);
    t.is(metrics().serializationDowngrades, before + 4);
    t.deepEqual(registry.convert(name, archive, { to: 'rkyv' }), archive);
    t.throws(() => registry.convert(name, archive.subarray(1, 8), { to: 'rkyv' }), {
      code: 'ERR_ARCHIVE_INVALID',
    });
    t.throws(() => registry.convert(name, Buffer.from('{'), { from: 'json', to: 'rkyv' }), {
      code: 'ERR_ARCHIVE_INVALID',
    });
    const wrong = [{ to: 'xml' }, { from: 'xml', to: 'json' }, {}, { to: 'json', hash: 5 }];
    for (const options of wrong) {
      t.throws(() => registry.convert(name, archive, options as never), {
        code: 'ERR_INVALID_ARGUMENT',
      });
    }
    t.throws(() => registry.convert(name, 'text' as never, { to: 'json' }), {
      code: 'ERR_INVALID_ARGUMENT',
    });
  },
);

test('[T29] what is not there is an error that says so', (t) => {
  const name = freshName();
  t.throws(() => registry.lookup(name), { code: 'ERR_TYPE_NOT_FOUND', message: new RegExp(name) });
  const { hash } = registry.register(type(name));
  t.throws(() => registry.lookup(name, hash ^ 1n), { code: 'ERR_TYPE_NOT_FOUND' });
  for (const wrong of [null, 5, undefined]) {
    t.throws(() => registry.lookup(wrong as never), { code: 'ERR_INVALID_ARGUMENT' });
    t.throws(() => registry.register(wrong as never), { code: 'ERR_SCHEMA_INVALID' });
  }
  t.throws(() => registry.unregister(name, null as never), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => registry.lookup(name, 5 as never), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => registry.lookup(name, -1n), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => registry.register(type(name), { allowVersions: 1 as never }), {
    code: 'ERR_INVALID_ARGUMENT',
  });
});

test('[T38] a type with a hash that is not its own is not registered', (t) => {
  const name = freshName();
  const lie = JSON.parse(JSON.stringify(type(name)));
  lie.types[name].hash = '0123456789abcdef';
  const error = t.throws(() => registry.register(lie), { instanceOf: SchemaError });
  t.like(error, { code: 'ERR_SCHEMA_INVALID', path: name });
  t.false(registry.has(name));
});

test('[T09] a registered codec is what its thread gets', (t) => {
  const codec = compile<{ a: number }>(type(freshName()), { mode: 'interpreted' });
  registry.register(codec);
  t.is(registry.lookup<{ a: number }>(codec.name), codec);
  const generated = registry.lookup(codec.name, codec.hash, { mode: 'generated' });
  t.true(generated.isGenerated);
});

test('[T17 M10] every thread sees the same types', async (t) => {
  const name = freshName();
  registry.register(type(name, { a: 'string' }));
  const worker = startWorker('registry-worker.js', { name, own: `${name}InWorker` });
  t.deepEqual(await worker.posted(), { a: 'from the worker' });
  t.is(await worker.exited, 0);
  const own = registry.lookup<{ b: number }>(`${name}InWorker`);
  t.deepEqual(own.decode(own.encode({ b: 5 })), { b: 5 });
});

for (const scheme of ['shm', 'inproc'] as const) {
  test(`[T18 M12] ${scheme}: values are sent by the name of their type`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const name = freshName();
    t.throws(() => client.typed(name), { code: 'ERR_TYPE_NOT_FOUND' });
    let encoded = 0;
    const codec = compile<{ a: string }>(type(name, { a: 'string' }));
    const encodeInto: typeof codec.encodeInto = (...args) => {
      encoded++;
      return codec.encodeInto(...args);
    };
    registry.register({ ...codec, encodeInto });
    await client.typed<{ a: string }>(name).send({ a: 'by name' });
    t.deepEqual(await server.typed<{ a: string }>(name).receive(), { a: 'by name' });
    t.is(encoded, 1, 'by the registered codec');
  });
}
