/** Literals against the engine itself: what is written in comes back as it was given. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SqlValue, Store } from '#schemas';
import { httpParam, LiteralError, literal } from '../../../deploy/stores/literal.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { oneStatement, StatementError } from '../../../deploy/stores/statement.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { LIMITS, sql } from './contract.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-literal-'));
let store: Store;
beforeAll(async () => {
  store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await store.command('CREATE TABLE keep (n UInt32) ENGINE = MergeTree ORDER BY n');
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function comesBack(type: string, value: SqlValue, show = '{v:T}'): Promise<void> {
  const text = `SELECT ${show} AS v, toTypeName({v:T}) AS t`.replaceAll('T}', `${type}}`);
  const [row] = await store.query(sql(text, { v: value }), LIMITS);
  expect(row?.v).toEqual(typeof value === 'bigint' ? String(value) : value);
}

const any = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: fc.constantFrom("'", '\\', '"', '`', '\0', '\n', ';', '{', '}', 'x', '0') }),
);
const RUNS = { numRuns: 60 };

describe('a literal comes back as it was', () => {
  it('every code point', async () => {
    let seen = 0;
    for (let from = 0; from < 0x110000; from += 0x8000) {
      const points = Array.from({ length: 0x8000 }, (_, i) => from + i);
      const text = points
        .filter((point) => point < 0xd800 || point > 0xdfff)
        .map((point) => String.fromCodePoint(point));
      seen += text.length;
      await comesBack('String', text.join(''));
    }
    expect(seen).toBe(0x110000 - 0x800);
  });

  it('strings, nullable and low-cardinality ones, arrays of arrays of them', async () => {
    const property = fc.asyncProperty(any, fc.array(fc.array(any)), async (text, nested) => {
      await comesBack('String', text);
      await comesBack('LowCardinality(String)', text);
      await comesBack('Array(Array(String))', nested);
      await comesBack('Array(Nullable(String))', [text, null, ...(nested[0] ?? [])]);
    });
    await fc.assert(property, RUNS);
    await comesBack('Nullable(String)', null);
  });

  it('integers of every width up to their limits, alone and in arrays', async () => {
    for (const bits of [8, 16, 32, 64, 128, 256])
      for (const [type, low, high] of [
        [`Int${bits}`, -(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n],
        [`UInt${bits}`, 0n, (1n << BigInt(bits)) - 1n],
      ] as const) {
        for (const value of [low, high]) await comesBack(type, value, 'toString({v:T})');
        const array = [String(low), String(high)];
        await comesBack(`Array(${type})`, array, 'arrayMap(x -> toString(x), {v:T})');
        for (const value of [low - 1n, high + 1n])
          expect(() => literal(type, value)).toThrow(LiteralError);
      }
  });

  it('UUIDs, booleans, floats, and times to the nanosecond', async () => {
    const times = fc.bigInt({ min: -2_208_988_800_000_000_000n, max: (1n << 63n) - 1n });
    const float = fc.double({ noNaN: true, noDefaultInfinity: true });
    const property = fc.asyncProperty(fc.uuid(), times, float, async (id, ns, number) => {
      await comesBack('UUID', id);
      await comesBack('Array(UUID)', [id, id]);
      const show = (array: boolean) =>
        array
          ? 'arrayMap(x -> toString(toUnixTimestamp64Nano(x)), {v:T})'
          : 'toUnixTimestamp64Nano({v:T})';
      await comesBack("DateTime64(9, 'UTC')", String(ns), show(false));
      await comesBack("Array(DateTime64(9, 'UTC'))", [String(ns)], show(true));
      const [row] = await store.query(sql('SELECT {v:Float64} AS v', { v: number }), LIMITS);
      expect(Number(row?.v)).toBe(number === 0 ? 0 : number);
    });
    await fc.assert(property, RUNS);
    for (const value of [true, false]) await comesBack('Bool', value);
  });

  it('bytes that are no UTF-8', async () => {
    const property = fc.asyncProperty(fc.uint8Array(), async (bytes) => {
      const [row] = await store.query(sql('SELECT hex({v:String}) AS v', { v: bytes }), LIMITS);
      expect(row?.v).toBe(Buffer.from(bytes).toString('hex').toUpperCase());
    });
    await fc.assert(property, RUNS);
  });

  it('refuses what does not fit its type', () => {
    const bad: readonly (readonly [string, SqlValue])[] = [
      ['UInt8', 1.5],
      ['UInt64', 2 ** 53],
      ['UInt64', "1'; --"],
      ['UInt64', ''],
      ['Bool', 1],
      ['UUID', "0193a5e0-0000-7000-8000-00000000000'"],
      ['Float64', Number.NaN],
      ["DateTime64(9, 'UTC')", '2026-11-24'],
      ['String', 1],
      ['String', null],
      ['Array(String)', 'a'],
      ['Nullable(Array(String))', null],
      ['Int7', 1],
      ["String') + sleep(3) --", 'a'],
      ['Array(UUID)', ["'"]],
    ];
    for (const [type, value] of bad)
      expect(() => literal(type, value), `${type} ${value}`).toThrow(LiteralError);
  });

  it('writes nanoseconds as seconds for a server that binds', () => {
    const type = "DateTime64(9, 'UTC')";
    expect(httpParam(type, '1764000000123456789')).toBe('1764000000.123456789');
    expect(httpParam(type, '-5')).toBe('-0.000000005');
    expect(httpParam(`Array(${type})`, ['7', '-1000000001'])).toEqual([
      '0.000000007',
      '-1.000000001',
    ]);
    expect(httpParam(`Nullable(${type})`, null)).toBe(null);
  });
});

describe('a statement is one statement', () => {
  const parts = fc.constantFrom(
    ...["'", '"', '`', '\\', '--', '\n', '/*', '*/', '$$', '$a$', '#', '‘', '’', '{v:String}', '{'],
    ...[
      ';',
      ' DROP TABLE keep ',
      '; DROP TABLE keep; ',
      ' 1 ',
      ' SELECT ',
      '\0',
      "''",
      '\\G',
      '#!',
    ],
  );

  it('for the engine too: no text of these parts smuggles a DROP past the check', async () => {
    let run = 0;
    const property = fc.asyncProperty(fc.array(parts, { maxLength: 12 }), any, async (list, v) => {
      const text = `SELECT 1 ${list.join('')}`;
      try {
        oneStatement(text);
      } catch (error) {
        return void expect(error).toBeInstanceOf(StatementError);
      }
      run++;
      // A command, because a query is read-only besides.
      await store.command(text).catch(() => {});
      await store.query(sql(text, { v }), LIMITS).catch(() => {});
      const answer = await store.query(sql('SELECT count() AS c FROM keep'), LIMITS);
      expect(answer).toEqual([{ c: '0' }]);
    });
    await fc.assert(property, { numRuns: 1500 });
    expect(run).toBeGreaterThan(50);
  });

  it('may end in a semicolon, and holds semicolons in strings, names and comments', () => {
    const same = ["SELECT ';' AS `;`", 'SELECT 1 /* ; */', 'SELECT 1 -- ;\n, 2', "SELECT 'it''s;'"];
    for (const text of same) {
      expect(oneStatement(text)).toBe(text);
      expect(oneStatement(`${text}; \n`).trim()).toBe(text.trim());
    }
    for (const text of ['SELECT 1; x', 'SELECT 1;;', ';;', 'SELECT 1; -- x'])
      expect(() => oneStatement(text), text).toThrow(StatementError);
  });
});
