/** Reservations, over a fake core: in place, in shared memory, overtaken, detached. */

import test from 'ava';

import { bench, canDetachMarked, detach } from './helpers/fake-port.js';

test('[D43] a small reservation is written in place and sent', async (t) => {
  const { fake, client, serverHandle } = bench();
  const reservation = client.reserve(16, { channel: 5 });
  t.is(reservation.bytes.length, 16);
  reservation.bytes.write('in place');
  await reservation.commit(8);
  client.trySend('next');
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['in place', 'next']);
});

test('[D43] a reservation takes its place when it is committed', async (t) => {
  const { fake, client, serverHandle } = bench();
  client.trySend('0');
  const [first, second, third] = [client.reserve(5), client.reserve(6), client.reserve(5)];
  client.trySend('1');
  first.bytes.write('first');
  second.bytes.write('second');
  third.bytes.write('third');
  t.true(second.tryCommit());
  client.trySend('2');
  t.true(first.tryCommit());
  third.discard();
  client.trySend('3');
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['0', '1', 'second', '2', 'first', '3']);
});

test('[D43] what is staged goes out while a reservation is open', async (t) => {
  const { fake, client, serverHandle } = bench();
  client.trySend('before');
  const reservation = client.reserve(4);
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['before']);
  reservation.bytes.write('then');
  await reservation.commit();
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['before', 'then']);
});

test('[D43] a discarded reservation leaves no trace', async (t) => {
  const { fake, client, serverHandle } = bench();
  const reservation = client.reserve(8);
  reservation.discard();
  reservation.discard();
  await t.throwsAsync(reservation.commit(), { code: 'ERR_LOAN_EXPIRED' });
  t.throws(() => reservation.bytes, { code: 'ERR_LOAN_EXPIRED' });
  client.trySend('x');
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['x']);
});

test('[D43] a large reservation is shared memory, handed over in order', async (t) => {
  const { fake, client, server } = bench();
  client.trySend('before');
  const reservation = client.reserve(100_000);
  const { bytes } = reservation;
  bytes.fill(7);
  await reservation.commit(50_000);
  t.is(bytes.length, 0, 'detached');
  await fake.settle();
  t.is(String(await server.receive()), 'before');
  const message = await server.receive();
  t.deepEqual([message.length, message[49_999]], [50_000, 7]);
  t.is(fake.calls['send'], undefined, 'no copy');
});

test('[D43] without shared memory a large reservation is an ordinary buffer', async (t) => {
  const { fake, client, server } = bench();
  fake.lends = false;
  const reservation = client.reserve(5000);
  reservation.bytes.fill(3);
  t.true(reservation.tryCommit());
  await fake.settle();
  t.is((await server.receive()).length, 5000);
});

test('[D25 D43] a reservation that finds no room stays open, or waits in order', async (t) => {
  const { fake, client, server } = bench({ slabMessages: 1 });
  t.true(client.trySend(Buffer.alloc(2000, 1)));
  const [loan, small] = [client.reserve(2000), client.reserve(1)];
  loan.bytes.fill(2);
  small.bytes.fill(3);
  t.false(loan.tryCommit());
  t.is(loan.bytes[0], 2, 'still open');
  const waiting = [loan.commit(), small.commit(), client.send(Buffer.from([4]))];
  const got: number[] = [];
  void server.consume((batch) => {
    for (const message of batch) got.push(message[0] as number);
  });
  await fake.settle();
  await Promise.all(waiting);
  t.deepEqual(got, [1, 2, 3, 4]);
  await server.close();
});

test('[D43] a detached reservation is an error, and the pipe goes on', async (t) => {
  const { fake, client, serverHandle } = bench();
  const errors: unknown[] = [];
  client.on('error', ({ code }) => errors.push(code));
  client.trySend('staged with it: lost, and said so');
  const large = client.reserve(8000);
  detach(large.bytes.buffer);
  t.throws(() => large.tryCommit(), { code: 'ERR_BUFFER_DETACHED' });
  t.is(fake.discarded.length, 1);
  if (!canDetachMarked) return;
  const small = client.reserve(8);
  detach(small.bytes.buffer);
  await t.throwsAsync(small.commit(), { code: 'ERR_BUFFER_DETACHED' });
  await fake.settle();
  t.deepEqual(errors, ['ERR_BUFFER_DETACHED']);
  client.trySend('after');
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['after']);
});

test('[D43] records written over through an old reservation are lost, and said so', async (t) => {
  const { fake, client, serverHandle } = bench();
  const errors: string[] = [];
  client.on('error', ({ message }) => errors.push(message));
  const { bytes } = client.reserve(8);
  client.trySend('stray');
  const reservation = client.reserve(8);
  reservation.discard();
  t.is(bytes.length, 8);
  fake.submitResult = -11;
  await fake.settle();
  fake.submitResult = null;
  t.is(errors.length, 1);
  t.regex(errors[0] ?? '', /1 accepted messages are lost/);
  client.trySend('after');
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['after']);
});

test('[D08] wrong lengths are named, and close ends reservations', async (t) => {
  const { client, fake } = bench();
  t.throws(() => client.reserve(-1), { code: 'ERR_INVALID_ARGUMENT', message: /length is -1/ });
  t.throws(() => client.reserve(1.5), { code: 'ERR_INVALID_ARGUMENT' });
  const [small, large] = [client.reserve(8), client.reserve(8000)];
  await t.throwsAsync(small.commit(9), { code: 'ERR_INVALID_ARGUMENT', message: /0 to 8/ });
  await client.close();
  await t.throwsAsync(small.commit(), { code: 'ERR_CLOSED' });
  t.throws(() => large.tryCommit(), { code: 'ERR_CLOSED' });
  large.discard();
  t.is(fake.discarded.length, 1);
});
