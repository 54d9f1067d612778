/** Blocks of our own against the engine’s, for values that no seed holds. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGreeter } from '../../../../deploy/grafana/endpoint/hello.ts';
import {
  NativeTypeError,
  nativeBlock,
  varint,
} from '../../../../deploy/grafana/endpoint/native.ts';
import { SHAPES } from '../../../../deploy/grafana/endpoint/shapes.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-native-'));
let engine: Session;
beforeAll(() => {
  engine = new Session(dir);
});
afterAll(() => {
  engine.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const digits = (count: number) =>
  fc.integer({ min: 0, max: 10 ** count - 1 }).map((n) => String(n).padStart(count, '0'));
const clock = fc
  .date({ min: new Date('1970-01-01T00:00:00Z'), max: new Date('2105-12-31T00:00:00Z') })
  .filter((date) => !Number.isNaN(date.getTime()))
  .map((date) => date.toISOString().slice(0, 19).replace('T', ' '));
const text = fc.string({ unit: 'binary', maxLength: 200 });

const COLUMNS = {
  s: 'String',
  u: 'UInt64',
  i: 'Int64',
  f: 'Float64',
  t: "DateTime('UTC')",
  m: "DateTime64(3, 'UTC')",
  n: "DateTime64(9, 'UTC')",
  o: 'Nullable(UInt64)',
  a: 'Array(String)',
  p: 'Map(String, String)',
};
const row = fc.record({
  s: text,
  u: uint64,
  i: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  f: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }), { freq: 20 }),
  t: clock,
  m: fc.tuple(clock, digits(3)).map((both) => both.join('.')),
  n: fc.tuple(clock, digits(9)).map((both) => both.join('.')),
  o: fc.option(uint64),
  a: fc.array(text, { maxLength: 3 }),
  p: fc.dictionary(fc.string({ maxLength: 8 }), text, { maxKeys: 3, noNullPrototype: true }),
});

describe('a block', () => {
  it('is the engine’s own, for all types that dashboards have', async () => {
    await engine.queryAsync('CREATE DATABASE d');
    const columns = Object.entries(COLUMNS).map(([name, type]) => `${name} ${type}`);
    await engine.queryAsync(
      `CREATE TABLE d.t (number UInt32, ${columns.join(', ')}) ENGINE = Memory`,
    );
    const names = Object.keys(COLUMNS).join(', ');
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 40 }), async (rows) => {
        await engine.queryAsync('TRUNCATE TABLE d.t');
        const nan = rows.map((one, number) => ({ ...one, number, f: one.f ?? 'nan' }));
        const lines = nan.map((one) => `${JSON.stringify(one)}\n`).join('');
        await engine.insert({ table: 'd.t', values: Buffer.from(lines), format: 'JSONEachRow' });
        const asked = `SELECT ${names} FROM d.t ORDER BY number`;
        const expected = (await engine.queryAsync(asked, { format: 'Native' })).bytes();
        const quoted = `${asked} SETTINGS output_format_json_quote_64bit_integers = 1`;
        const stored = (await engine.queryAsync(quoted, { format: 'JSONEachRow' })).text();
        const given = stored.split('\n').filter((line) => line !== '');
        const block = nativeBlock(
          COLUMNS,
          given.map((line) => JSON.parse(line)),
        );
        expect(block.toString('hex')).toBe(Buffer.from(expected).toString('hex'));
      }),
      { numRuns: 25 },
    );
  });

  it('is known for each type of each statement, and refused for others', () => {
    for (const { columns } of SHAPES) expect(nativeBlock(columns, []).length).toBeGreaterThan(2);
    for (const type of ['UUID', 'Map(UInt8, String)', 'Array(Array(UUID))', 'toString', ''])
      expect(() => nativeBlock({ c: type }, [])).toThrow(NativeTypeError);
  });

  it('counts in groups of seven bits', () => {
    const of = (value: number) => varint(value).toString('hex');
    expect([of(0), of(127), of(128), of(300), of(2 ** 32)]).toEqual([
      '00',
      '7f',
      '8001',
      'ac02',
      '8080808010',
    ]);
  });
});

describe('a greeting', () => {
  const greet = createGreeter('26.7.2.1');
  const hello = 'SELECT displayName(), version(), revision(), timezone()';

  it('of Grafana’s client has block info, a byte behind each type, and revision 0', () => {
    const bytes = greet(hello, 'Native') as Buffer;
    expect(bytes.subarray(0, 10).toString('hex')).toBe('010002ffffffff000401');
    expect(bytes.toString('latin1')).toContain('\x0arevision()\x06UInt32\0\0\0\0\0');
    expect(bytes.toString('latin1')).toContain('\x09version()\x06String\0\x0826.7.2.1');
  });

  it('is given to a few texts and no other', () => {
    expect(greet('SELECT 1', 'JSONEachRow')?.toString()).toBe('{"1":1}\n');
    for (const text of ['select 1', 'SELECT 1;', '', 'toString', '__proto__', `${hello}, 1`])
      expect(greet(text, 'Native')).toBeUndefined();
  });
});
