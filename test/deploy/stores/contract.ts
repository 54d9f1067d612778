/** What every store must do, embedded or over HTTP; run by the test file of each. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type QueryLimits, type Sql, type SqlValue, type Store, StoreError } from '#schemas';

export const LIMITS: QueryLimits = { timeMs: 10_000, memoryBytesMax: 1e9, rowsMax: 1_000_000 };
export const sql = (text: string, params: Record<string, SqlValue> = {}): Sql => ({ text, params });

const lines = (rows: readonly object[]) =>
  Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

/** The fault that the work rejects with. */
export async function faultOf(work: Promise<unknown>) {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StoreError);
  return (error as StoreError).fault;
}

/** A string that tries to get out of wherever it is put. */
const hostile = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({
    unit: fc.constantFrom("'", '\\', '"', '`', '\0', '\n', ';', '{', '}', '%', 'é', '😀'),
  }),
  fc.constantFrom(
    "'; DROP TABLE t; --",
    "\\'",
    '{x:String}',
    '*/ SELECT 1 /*',
    '\u202e',
    '\b\f\r\t',
  ),
);

/** Runs until it is stopped, in small blocks, on one thread's worth of work. */
export const endless = sql(
  'SELECT count() AS c FROM numbers(1000000000000) WHERE cityHash64(number, 1) = /* ENDLESS */ 1',
);

export async function until(done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('waited 5 s in vain');
}

export function describeStore(name: string, store: () => Store): void {
  const insert = (table: string, rows: readonly object[], dedupToken: string) =>
    store().insert({ table, lines: lines(rows), rows: rows.length, dedupToken, timeMs: 10_000 });
  const all = (table: string) => store().query(sql(`SELECT * FROM ${table} ORDER BY 1`), LIMITS);

  /** Our queries in the engine, the asking one left out. */
  const runningNow = async () => {
    const text = "SELECT count() AS c FROM system.processes WHERE position(query, 'ENDLESS') > 0";
    const [row] = await store().query(sql(`${text} AND query NOT LIKE '%processes%'`), LIMITS);
    return Number(row?.c);
  };

  describe(`${name}: values`, () => {
    it('binds any string exactly', async () => {
      await fc.assert(
        fc.asyncProperty(hostile, async (value) => {
          const text = 'SELECT {v:String} AS v, length({v:String}) AS n';
          const [row] = await store().query(sql(text, { v: value }), LIMITS);
          expect(row).toEqual({ v: value, n: String(Buffer.byteLength(value)) });
        }),
        { numRuns: 50 },
      );
    });

    it('binds integers, arrays, times, UUIDs, booleans and nulls exactly', async () => {
      const text = `SELECT {u:UInt64} AS u, {i:Int64} AS i, {s:UInt32} AS s, {a:Array(String)} AS a,
        {e:Array(UInt32)} AS e, toUnixTimestamp64Nano({t:DateTime64(9, 'UTC')}) AS t, {b:Bool} AS b,
        {id:UUID} AS id, {n:Nullable(String)} AS n, toTypeName({u:UInt64}) AS type`;
      const params = {
        u: '18446744073709551615',
        i: '-9223372036854775808',
        s: 4_294_967_295,
        a: ["it's", '\\', ''],
        e: [],
        t: '1764000000123456789',
        b: true,
        id: '0193a5e0-0000-7000-8000-000000000001',
        n: null,
      };
      const [row] = await store().query(sql(text, params), LIMITS);
      expect(row).toEqual({ ...params, type: 'UInt64' });
    });

    it('gives the keys of a map as they are, whatever keys came before', async () => {
      // Texts that one engine's JSON.parse takes for one another (schemas/parse-json.ts).
      for (const key of ['\\\\', '\\N', '\\', '"', '\n', '__proto__']) {
        const rows = await store().query(sql('SELECT map({k:String}, 1) AS m', { k: key }), LIMITS);
        expect(rows.map(({ m }) => Object.keys(m as object))).toEqual([[key]]);
        const streamed = store().stream(sql('SELECT map({k:String}, 1) AS m', { k: key }), LIMITS);
        for await (const block of streamed)
          expect(block.map(({ m }) => Object.keys(m as object))).toEqual([[key]]);
      }
    });

    it('gives the same by column, none of nothing, and the same faults', async () => {
      const text =
        "SELECT number AS n, concat('a/\\n', toString(number)) AS s, map('k', s) AS m FROM numbers({c:UInt8})";
      for (const c of [0, 3]) {
        const rows = await store().query(sql(text, { c }), LIMITS);
        const columns = await store().columns(sql(text, { c }), LIMITS);
        expect(Object.keys(columns)).toEqual(['n', 's', 'm']);
        for (const [name, values] of Object.entries(columns))
          expect(values).toEqual(rows.map((row) => row[name]));
      }
      const many = sql('SELECT number FROM numbers(11)', {});
      const failing = store().columns(many, { ...LIMITS, rowsMax: 10 });
      await expect(failing).rejects.toMatchObject({ fault: { code: 'limit' } });
    });

    it('leaves what looks like a placeholder in a string or comment alone', async () => {
      const text = "SELECT '{v:String}' AS a, {v:String} AS b -- {w:String} ; x\n";
      expect(await store().query(sql(text, { v: 'x' }), LIMITS)).toEqual([
        { a: '{v:String}', b: 'x' },
      ]);
    });
  });

  describe(`${name}: faults`, () => {
    it('refuses a second statement in one text', async () => {
      await store().command('CREATE TABLE keep (n UInt32) ENGINE = MergeTree ORDER BY n');
      for (const text of ['SELECT 1; DROP TABLE keep', 'SELECT 1;;DROP TABLE keep'])
        expect((await faultOf(store().query(sql(text), LIMITS))).code).toBe('refused');
      expect((await faultOf(store().command('SELECT 1; DROP TABLE keep'))).code).toBe('refused');
      expect(await all('keep')).toEqual([]);
    });

    it('can’t write through a query', async () => {
      await faultOf(store().query(sql('DROP TABLE keep'), LIMITS));
      expect(await all('keep')).toEqual([]);
    });

    it('ends a query at its limits, and says so', async () => {
      const began = Date.now();
      const late = store().query(endless, { ...LIMITS, timeMs: 300 });
      expect(await faultOf(late)).toMatchObject({ code: 'limit', engineCode: 159 });
      expect(Date.now() - began).toBeGreaterThan(250);
      expect(Date.now() - began).toBeLessThan(5_000);
      const many = store().query(sql('SELECT number FROM numbers(100000)'), {
        ...LIMITS,
        rowsMax: 10,
      });
      expect((await faultOf(many)).code).toBe('limit');
      const text = 'SELECT groupArray(number) AS g FROM numbers(100000000)';
      const large = store().query(sql(text), { ...LIMITS, memoryBytesMax: 10_000_000 });
      expect(await faultOf(large)).toMatchObject({ code: 'limit', engineCode: 241 });
    });

    it('keeps its limits whatever the statement’s shape and last comment', async () => {
      const one = endless.text;
      const shapes = [
        `${one} -- the end`,
        `${one} /* the end */;`,
        `(${one})`,
        `SELECT 1 AS c UNION ALL ${one}`,
        `(SELECT 1 AS c) UNION ALL (${one})`,
        `WITH x AS (${one}) SELECT * FROM x`,
      ];
      for (const text of shapes) {
        const fault = await faultOf(store().query(sql(text), { ...LIMITS, timeMs: 50 }));
        expect(fault, text).toMatchObject({ code: 'limit', engineCode: 159 });
      }
    });

    it('cancels in the engine when the caller gives up', async () => {
      const abort = new AbortController();
      const running = faultOf(store().query(endless, LIMITS, abort.signal));
      await until(async () => (await runningNow()) === 1);
      abort.abort();
      const began = Date.now();
      expect((await running).code).toBe('limit');
      await until(async () => (await runningNow()) === 0);
      expect(Date.now() - began).toBeLessThan(2_000);
      const before = faultOf(store().query(sql('SELECT 1'), LIMITS, AbortSignal.abort()));
      expect((await before).code).toBe('limit');
    });

    it('gives a typed fault with the engine’s number for a wrong statement', async () => {
      const fault = await faultOf(store().query(sql('SELECT no_such_column'), LIMITS));
      expect(fault).toMatchObject({ code: 'refused', engineCode: 47 });
    });
  });

  describe(`${name}: inserts`, () => {
    it('stores a batch once for a token, and a token does not stick', async () => {
      await store().command(
        'CREATE TABLE once (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100',
      );
      await insert('once', [{ n: 1 }, { n: 2 }], "it's \\ a token");
      await insert('once', [{ n: 1 }, { n: 2 }], "it's \\ a token");
      await insert('once', [{ n: 3 }], 'b');
      await insert('once', [{ n: 4 }], 'c');
      expect((await all('once')).map((row) => row.n)).toEqual([1, 2, 3, 4]);
    });

    it('stores strings exactly, and absent columns as their defaults', async () => {
      await store().command(
        "CREATE TABLE words (n UInt32, s String, d String DEFAULT 'none', t DateTime64(9, 'UTC')) ENGINE = MergeTree ORDER BY n",
      );
      const words = ["'", '\\', '\0', '\n', '{"a":1}', '😀', '\u2028', '\u202e', ''];
      const t = '1764000000123456789';
      const rows = words.map((s, n) => ({ n, s, t }));
      await insert('words', rows, 'w');
      const text = 'SELECT n, s, d, toUnixTimestamp64Nano(t) AS t FROM words ORDER BY n';
      expect(await store().query(sql(text), LIMITS)).toEqual(
        rows.map((row) => ({ ...row, d: 'none' })),
      );
    });

    it('refuses a batch with one bad row, whole and with a typed fault', async () => {
      const bad = Buffer.from('{"n":10,"s":"ok"}\n{"n":"many"}\n');
      const work = store().insert({
        table: 'words',
        lines: bad,
        rows: 2,
        dedupToken: 'x',
        timeMs: 5000,
      });
      expect((await faultOf(work)).code).toBe('refused');
      const unknown = insert('words', [{ n: 11, nobody: 1 }], 'y');
      expect((await faultOf(unknown)).code).toBe('refused');
      const text = 'SELECT count() AS c FROM words WHERE n >= 10';
      expect(await store().query(sql(text), LIMITS)).toEqual([{ c: '0' }]);
    });
  });

  describe(`${name}: streams`, () => {
    it('gives all rows in blocks', async () => {
      let next = 0;
      let blocks = 0;
      const text = 'SELECT number AS n FROM numbers(300000)';
      for await (const rows of store().stream(sql(text), LIMITS)) {
        blocks++;
        expect(rows.every((row) => row.n === String(next++))).toBe(true);
      }
      expect(next).toBe(300_000);
      expect(blocks).toBeGreaterThan(1);
    });

    it('may be left early, and an error in it is an error', async () => {
      for await (const rows of store().stream(sql('SELECT number FROM numbers(1000000)'), LIMITS)) {
        expect(rows.length).toBeGreaterThan(0);
        break;
      }
      const failing = async () => {
        const text = 'SELECT number, throwIf(number = 200000) AS t FROM numbers(300000)';
        for await (const _ of store().stream(sql(text), LIMITS));
      };
      expect((await faultOf(failing())).code).toBe('refused');
      expect(await store().query(sql("SELECT 'clean' AS x"), LIMITS)).toEqual([{ x: 'clean' }]);
    });
  });

  describe(`${name}: one tenant’s failures`, () => {
    it('never show in another’s answers', async () => {
      const failing = [
        sql("SELECT 'tenant-a' AS x, number, throwIf(number = 90000) AS t FROM numbers(100000)"),
        sql(
          "SELECT 'tenant-a' AS x, number FROM numbers(1000000000000) WHERE cityHash64(number) % 20000 = 0",
        ),
        sql("SELECT 'tenant-a' AS x, number FROM numbers(100000)"),
      ];
      const limits = [LIMITS, { ...LIMITS, timeMs: 150 }, { ...LIMITS, rowsMax: 70_000 }];
      let dirty = 0;
      let failures = 0;
      await Promise.all(
        Array.from({ length: 60 }, async (_, i) => {
          if (i % 2 === 0) {
            const kind = (i / 2) % 3;
            const work = store().query(failing[kind] as Sql, limits[kind] as QueryLimits);
            await work.catch(() => failures++);
          } else {
            const rows = await store().query(sql("SELECT 'tenant-b' AS x"), LIMITS);
            if (rows.length !== 1 || rows[0]?.x !== 'tenant-b') dirty++;
          }
        }),
      );
      expect(failures).toBe(30);
      expect(dirty).toBe(0);
    });
  });
}
