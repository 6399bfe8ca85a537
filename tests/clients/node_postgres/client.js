// node-postgres as its users use it, by its native binding: its own protocol code knows no GSSAPI.
// Each check on a fresh connection, named in PG* variables.
'use strict';
const assert = require('node:assert/strict');
const { Client, Pool } = require('pg').native;

// pg itself makes libpq's sslmode "true" of PGSSLMODE=require
const SETTINGS = { ssl: { sslmode: process.env.PGSSLMODE } };
const REFUSED = "set pgguard.principal = 'somebody'";

async function number(client, query) {
  return Number(Object.values((await client.query(query)).rows[0])[0]);
}

async function values(client) {
  const { rows } = await client.query('select $1::int a, $2::text b, $3::bytea c', [7, "ä'", '\\x00ff']);
  assert.deepEqual(rows, [{ a: 7, b: "ä'", c: Buffer.from([0, 255]) }]);
}

async function namedStatements(client) {
  for (let n = 0; n < 10; n++) {
    const { rows } = await client.query({ name: 'next', text: 'select $1::int + 1 as n', values: [n] });
    assert.equal(rows[0].n, n + 1);
  }
}

async function errorsLeaveTheClientUsable(client) {
  await assert.rejects(client.query('select 1/0'), { code: '22012' });
  await assert.rejects(client.query('selec'), { code: '42601' });
  await assert.rejects(client.query('select $1::int', ['x']), { code: '22P02' });
  assert.equal(await number(client, 'select 1'), 1);
}

async function refusedInTransaction(client) {
  await client.query('begin');
  await assert.rejects(client.query(REFUSED), { code: '42501' });
  await assert.rejects(client.query('select 1'), { code: '25P02' });
  await client.query('rollback');
  await assert.rejects(client.query("select set_config('pgguard.principal', $1, false)", ['x']), { code: '42501' });
  assert.equal(await number(client, 'select 1'), 1);
}

async function savepoints(client) {
  await client.query('create temp table t (a int)');
  await client.query('begin; insert into t values (1); savepoint s');
  await assert.rejects(client.query(REFUSED), { code: '42501' });
  for (const each of ['rollback to s', 'insert into t values (2)', 'commit']) await client.query(each);
  assert.equal(await number(client, 'select count(*) from t'), 2);
}

async function queue(client) {
  const asked = Array.from({ length: 200 }, (_, n) => number(client, `select ${n}`));
  assert.deepEqual(await Promise.all(asked), Array.from({ length: 200 }, (_, n) => n));
}

async function manyRows(client) {
  const { rows } = await client.query("select n, repeat('x', 100) t from generate_series(1, 30000) n");
  assert.equal(rows.length, 30000);
}

async function notifications(client) {
  const told = new Promise((resolve) => client.once('notification', resolve));
  await client.query('listen node');
  await client.query("select pg_notify('node', 'payload')");
  assert.equal((await told).payload, 'payload');
}

async function cancel(client) {
  const asleep = client.query('select pg_sleep(20)');
  setTimeout(() => client.native.cancel(() => {}), 200);
  await assert.rejects(asleep, { code: '57014' });
  for (let n = 0; n < 20; n++) assert.equal(await number(client, `select ${n}`), n);
}

async function pool() {
  const shared = new Pool({ ...SETTINGS, max: 5 });
  const found = await Promise.all(Array.from({ length: 50 }, (_, n) => number(shared, `select ${n}`)));
  await shared.end();
  assert.deepEqual(found, Array.from({ length: 50 }, (_, n) => n));
}

async function main() {
  const checks = [
    values, namedStatements, errorsLeaveTheClientUsable, refusedInTransaction, savepoints, queue, manyRows,
    notifications, cancel, pool,
  ];
  let failed = 0;
  for (const check of checks) {
    const client = new Client(SETTINGS);
    try {
      await client.connect();
      await check(client);
    } catch (error) {
      console.log(`${check.name}: ${error.stack}`);
      failed++;
    }
    await client.end();
  }
  console.log(`${checks.length - failed} passed, ${failed} failed`);
  process.exit(failed > 0 ? 1 : 0);
}

main();
