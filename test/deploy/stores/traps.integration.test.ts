/** Each trap of the embedded engine, by name: what was measured once must stay closed. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type QueryLimits, type Sql, type Store, StoreError } from '#schemas';
import { EMBEDDED_DEFAULTS, openEmbedded } from '../../../deploy/stores/embedded.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { endless, faultOf, LIMITS, sql, until } from './contract.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-traps-'));
const open = () => openEmbedded(dir, fakeLog(), { ...EMBEDDED_DEFAULTS, readers: 4 });
let store: Store;
beforeAll(async () => {
  store = await open();
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const running = async () => {
  const text = "SELECT count() AS c FROM system.processes WHERE position(query, 'ENDLESS') > 0";
  const only = `${text} AND query NOT LIKE '%processes%'`;
  return Number((await store.query(sql(only), LIMITS))[0]?.c);
};
const insert = (table: string, rows: readonly object[], dedupToken: string) => {
  const lines = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return store.insert({ table, lines, rows: rows.length, dedupToken, timeMs: 10_000 });
};

describe('residue of failed queries', () => {
  const rows = "SELECT 'tenant-a' AS x, number FROM numbers";
  const drip = sql(`${rows}(1000000000000) WHERE cityHash64(number) % 20000 = 0 /* ENDLESS */`);
  const failures: Readonly<Record<string, () => Promise<unknown>>> = {
    throwIf: () =>
      store.query(
        sql(`SELECT 'a' AS x, throwIf(number = 90000) AS t FROM numbers(100000)`),
        LIMITS,
      ),
    time: () => store.query(drip, { ...LIMITS, timeMs: 60 }),
    memory: () => {
      const text = `${rows}(300000) UNION ALL SELECT 'a', length(groupArray(number)) FROM numbers(100000000)`;
      return store.query(sql(text), { ...LIMITS, memoryBytesMax: 30_000_000 });
    },
    rows: () => store.query(sql(`${rows}(100000)`), { ...LIMITS, rowsMax: 70_000 }),
    abort: () => store.query(drip, LIMITS, AbortSignal.timeout(60)),
    stream: async () => {
      for await (const _ of store.stream(drip, { ...LIMITS, timeMs: 60 }));
    },
    leave: async () => {
      for await (const _ of store.stream(sql(`${rows}(1000000)`), LIMITS)) throw new Error('left');
    },
  };

  it('never reaches another tenant: 4 readers, 7 ways to fail, 350 clean answers', async () => {
    const names = Object.keys(failures);
    const failed: Record<string, number> = {};
    let dirty = 0;
    let clean = 0;
    const fail = async (name: string) => {
      await failures[name]?.().catch(() => {
        failed[name] = (failed[name] ?? 0) + 1;
      });
    };
    const ask = async (i: number) => {
      const answer = await store.query(sql('SELECT {i:UInt32} AS i', { i }), LIMITS);
      if (JSON.stringify(answer) === `[{"i":${i}}]`) clean++;
      else dirty++;
    };
    // The pool's queue is first come, first served: after each failure come five clean queries.
    const works = Array.from({ length: 70 }, (_, i) => [
      fail(names[i % names.length] as string),
      ...[0, 1, 2, 3, 4].map((n) => ask(i * 5 + n)),
    ]);
    await Promise.all(works.flat());
    expect(failed).toEqual(Object.fromEntries(names.map((name) => [name, 10])));
    expect({ dirty, clean }).toEqual({ dirty: 0, clean: 350 });
  });
});

describe('settings', () => {
  it('do not stick: an insert’s token, its skip of unknown fields, a query’s readonly', async () => {
    await store.command(
      'CREATE TABLE stick (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100',
    );
    for (const n of [1, 2, 3, 4]) await insert('stick', [{ n }], `token-${n}`);
    await insert('stick', [{ n: 4 }], 'token-4');
    await insert('stick', [{ n: 5 }], "';\\'; DROP TABLE stick; --\n\0");
    const answer = await store.query(sql('SELECT n FROM stick ORDER BY n'), LIMITS);
    expect(answer.map((row) => row.n)).toEqual([1, 2, 3, 4, 5]);
    await store.command('CREATE TABLE after (n UInt32) ENGINE = MergeTree ORDER BY n');
    const text = "SELECT value FROM system.settings WHERE name = 'insert_deduplication_token'";
    expect(await store.query(sql(text), LIMITS)).toEqual([{ value: '' }]);
  });

  it('do stick when given to a session with SET, as other clients of it do', () => {
    const session = new Session(dir);
    session.query("SET insert_deduplication_token = 'A'");
    const text = "SELECT value FROM system.settings WHERE name = 'insert_deduplication_token'";
    expect(session.query(text, 'TSV')).toBe('A\n');
    session.close();
  });
});

describe('parameters', () => {
  it('are not serial: a light query is not behind a heavy one', async () => {
    const stop = new AbortController();
    const heavy = faultOf(
      store.query(sql(`${endless.text} + {n:UInt8}`, { n: 0 }), LIMITS, stop.signal),
    );
    await until(async () => (await running()) === 1);
    const began = Date.now();
    expect(await store.query(sql('SELECT {n:UInt8} AS n', { n: 7 }), LIMITS)).toEqual([{ n: 7 }]);
    expect(Date.now() - began).toBeLessThan(1000);
    stop.abort();
    await heavy;
  });

  it('may be large: 20,000 UUIDs, and a string of 2 MB', async () => {
    const id = (i: number) => `0193a5e0-0000-7000-8000-${String(i).padStart(12, '0')}`;
    const params = { ids: Array.from({ length: 20_000 }, (_, i) => id(i)), s: "'".repeat(2 ** 21) };
    const text = 'SELECT length({ids:Array(UUID)}) AS n, length({s:String}) AS s';
    const answer = await store.query(sql(text, params), LIMITS);
    expect(answer).toEqual([{ n: '20000', s: String(2 ** 21) }]);
  });
});

describe('cancelling', () => {
  it('works with every thread and reader taken, and for those who wait', async () => {
    const stop = new AbortController();
    const works = Array.from({ length: 8 }, () =>
      faultOf(store.query(endless, LIMITS, stop.signal)),
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    stop.abort();
    const began = Date.now();
    for (const work of works) expect((await work).code).toBe('limit');
    expect(Date.now() - began).toBeLessThan(2_000);
    await until(async () => (await running()) === 0);
  });

  it('ends a query at once that had not started in the engine yet', async () => {
    for (let i = 0; i < 5; i++) {
      const stop = new AbortController();
      const work = faultOf(store.query(endless, LIMITS, stop.signal));
      await new Promise((resolve) =>
        i % 2 === 0 ? setImmediate(resolve) : process.nextTick(resolve),
      );
      stop.abort();
      expect((await work).code).toBe('limit');
    }
    await until(async () => (await running()) === 0);
  });

  it('ends a stream in the engine', async () => {
    const stop = new AbortController();
    const text = `SELECT number FROM numbers(1000000000000) WHERE cityHash64(number) % 1000 = /* ENDLESS */ 0`;
    const read = async () => {
      for await (const _ of store.stream(sql(text), { ...LIMITS, rowsMax: 1e9 }, stop.signal))
        stop.abort();
    };
    expect((await faultOf(read())).code).toBe('limit');
    await until(async () => (await running()) === 0);
  });
});

describe('streams', () => {
  const big = sql("SELECT number, repeat('x', 2000) AS s FROM numbers(100000)");

  it('take memory that does not grow with the result: 200 MB', async () => {
    const rss = () => process.memoryUsage.rss() / 1e6;
    for await (const _ of store.stream(big, LIMITS)) break;
    const before = rss();
    let most = 0;
    let bytes = 0;
    for await (const rows of store.stream(big, LIMITS)) {
      for (const row of rows) bytes += (row.s as string).length;
      most = Math.max(most, rss() - before);
    }
    expect(bytes).toBe(200_000_000);
    expect(most).toBeLessThan(150);
  });

  it('run several at a time, and left half-way leave their sessions clean', async () => {
    const one = async (from: number) => {
      const text = 'SELECT number + {from:UInt32} AS n FROM numbers(200000)';
      let n = from;
      for await (const rows of store.stream(sql(text, { from }), LIMITS))
        for (const row of rows) if (row.n !== String(n++)) throw new Error(`${row.n} for ${n}`);
      return n - from;
    };
    expect(await Promise.all([0, 1, 2, 3, 4, 5].map(one))).toEqual(Array(6).fill(200_000));
    for (let i = 0; i < 12; i++) {
      for await (const _ of store.stream(big, LIMITS)) break;
      expect(await store.query(sql('SELECT 1 AS n'), LIMITS)).toEqual([{ n: 1 }]);
    }
  });

  it('that nobody reads on give their sessions back at their limit', async () => {
    const held = Array.from({ length: 4 }, () => {
      const rows = store.stream(big, { ...LIMITS, timeMs: 100 })[Symbol.asyncIterator]();
      return { rows, first: rows.next() };
    });
    for (const { first } of held) expect((await first).done).toBe(false);
    expect(await store.query(sql('SELECT 1 AS n'), LIMITS)).toEqual([{ n: 1 }]);
    for (const { rows } of held) expect((await faultOf(rows.next())).code).toBe('limit');
  });
});

describe('values', () => {
  it('a lone surrogate is refused: bound, and in a batch, which is refused whole', async () => {
    const bound = store.query(sql('SELECT {s:String} AS s', { s: 'a\ud800' }), LIMITS);
    expect((await faultOf(bound)).code).toBe('refused');
    await store.command('CREATE TABLE lone (s String) ENGINE = MergeTree ORDER BY s');
    const batch = insert('lone', [{ s: 'good' }, { s: '\ud800' }], 'lone');
    expect((await faultOf(batch)).code).toBe('refused');
    expect(await store.query(sql('SELECT * FROM lone'), LIMITS)).toEqual([]);
  });

  it('UInt64 is exact, in and out', async () => {
    await store.command('CREATE TABLE exact (n UInt64) ENGINE = MergeTree ORDER BY n');
    const lines = Buffer.from('{"n":18446744073709551615}\n{"n":"9007199254740993"}\n');
    await store.insert({ table: 'exact', lines, rows: 2, dedupToken: 'e', timeMs: 5000 });
    const answer = await store.query(sql('SELECT n FROM exact ORDER BY n'), LIMITS);
    expect(answer).toEqual([{ n: '9007199254740993' }, { n: '18446744073709551615' }]);
  });

  it('a table’s name is a name', async () => {
    for (const table of ['t; DROP TABLE exact', 'a.b.c', '', 't(n)', "'t'"])
      expect((await faultOf(insert(table, [{ n: 1 }], 'x'))).code).toBe('refused');
  });
});

describe('statements', () => {
  it('with other quoting, or a quote left open, are refused before the engine', async () => {
    const quoted = ['$$a;b$$', '$t$ ; $t$', '‘;’', '“;”', '1 # ;\n', '1 \\G SELECT 2', '1 \0 ; x'];
    const left = ["'a", '"a', '`a', '/* a', "'a\\'", "1 /* '*/ '"];
    for (const text of [...quoted, ...left]) {
      const { fault } = await store.query(sql(`SELECT ${text}`), LIMITS).then(
        () => new StoreError({ code: 'busy', message: `${text} was run` }),
        (error: StoreError) => error,
      );
      expect(fault.code, text).toBe('refused');
      expect(fault.engineCode, text).toBeUndefined();
    }
  });
});

describe('closing', () => {
  it('while queries and streams run: they end as closed, an insert is stored', async () => {
    const other = await open();
    await other.command('CREATE TABLE last (n UInt32) ENGINE = MergeTree ORDER BY n');
    const works: [Sql, QueryLimits][] = [1, 2, 3, 4, 5].map(() => [endless, LIMITS]);
    const queries = works.map(([text, limits]) => faultOf(other.query(text, limits)));
    const lines = Buffer.from('{"n":1}\n'.repeat(1000));
    const stored = other.insert({
      table: 'last',
      lines,
      rows: 1000,
      dedupToken: 'l',
      timeMs: 9000,
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const began = Date.now();
    await other.close();
    expect(Date.now() - began).toBeLessThan(5_000);
    for (const query of queries) expect((await query).code).toBe('closed');
    await stored;
    expect((await faultOf(other.query(sql('SELECT 1'), LIMITS))).code).toBe('closed');
    expect((await faultOf(other.ping())).code).toBe('closed');
    await other.close();
    const answer = await store.query(sql('SELECT count() AS c FROM last'), LIMITS);
    expect(answer).toEqual([{ c: '1000' }]);
  });
});
