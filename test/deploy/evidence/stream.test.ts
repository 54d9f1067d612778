/** The export stream by itself: its pages, what it does at a limit, and rows that no collector wrote. */
import Fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import { type Row, type Sql, type Store, StoreError } from '#schemas';
import { createExports, pagesOf } from '../../../query/export/evidence.ts';
import type { Bucket } from '../../../query/export/evidence-plan.ts';
import { runnerFor } from '../../query/access.ts';
import { CLEAN, type CleanCase } from '../../verify/clean.ts';
import { createWorld, type Wire } from '../../verify/world.ts';

const bucket = (stream: string, first: number, last: number, rows = last - first + 1): Bucket => ({
  ...{ stream, first, last, rows: String(rows), first_ms: '5', last_ms: '9' },
});
const SESSION = '0193a5e0-0000-7000-8000-000000000001';

/** A row as the engine gives it. */
function rowOf(wire: Wire): Row {
  const { ts, observed_ts, ...rest } = wire;
  return { ...rest, ts_ns: ts, observed_ts_ns: observed_ts };
}

interface Faults {
  /** A page of more rows than this is above the engine's limit. */
  readonly rowsMax: number;
  /** Breaks off behind so many pages. */
  readonly pagesMax?: number;
}

/** A store that answers an export's statements out of some rows. */
function fakeStore(rows: readonly Wire[], faults: Faults): Store & { readonly pages: number[][] } {
  const pages: number[][] = [];
  const stream = rows[0]?.stream_id as string;
  const limit = () => new StoreError({ code: 'limit', message: 'too much' });
  async function* answer<T>(sql: Sql): AsyncGenerator<readonly T[]> {
    const { first, last } = sql.params as { first?: number; last?: number };
    if (first === undefined || last === undefined) return;
    pages.push([first, last]);
    if (pages.length > (faults.pagesMax ?? Infinity))
      throw new StoreError({ code: 'busy', message: 'gone' });
    const found = rows.filter(({ seq }) => seq >= first && seq <= last);
    if (found.length > faults.rowsMax) throw limit();
    yield found.map(rowOf) as T[];
  }
  async function query<T>(sql: Sql): Promise<readonly T[]> {
    if (!sql.text.includes('bucket'))
      return [
        { id: SESSION, started: '1', ended: '2', agent_name: '', host_name: '', user_name: '' },
      ] as T[];
    return [bucket(stream, rows[0]?.seq ?? 0, rows.at(-1)?.seq ?? 0, rows.length)] as T[];
  }
  const no = async () => {};
  return { pages, query, stream: answer, insert: no, command: no, ping: no, close: no } as never;
}

async function ask(store: Store, query = '') {
  const app = Fastify();
  const answer = createExports();
  app.get('/:id', (request, reply) => answer(runnerFor(store, 'acme'), request, reply));
  const response = await app.inject({ url: `/${SESSION}${query}` }).catch((error: Error) => error);
  await app.close();
  return response;
}

const lines = (body: string) =>
  body
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, never>);
const world = createWorld('stream', (CLEAN[0] as CleanCase).plan);
const ROWS = (world.stores[0]?.rows ?? []).map((row) => ({ ...row, session_id: SESSION }));

describe('pages', () => {
  it('hold whole buckets of one stream, up to their size', () => {
    const pages = pagesOf([
      bucket('a', 0, 4095),
      bucket('a', 4096, 8191),
      bucket('a', 8192, 9000),
      bucket('b', 5, 5),
      bucket('b', 4_000_000_000, 4_000_000_001),
    ]);
    expect(pages.map(({ stream, first, last }) => [stream, first, last])).toEqual([
      ['a', 0, 8191],
      ['a', 8192, 9000],
      ['b', 5, 4_000_000_001],
    ]);
  });
});

describe('an export', () => {
  it('halves a page that is too large for the store, and loses nothing by it', async () => {
    const store = fakeStore(ROWS, { rowsMax: 10 });
    const response = await ask(store);
    if (response instanceof Error) throw response;
    const seqs = lines(response.body).flatMap(
      (one) => (one.event as { seq: number } | undefined)?.seq ?? [],
    );
    expect(seqs).toEqual(ROWS.map(({ seq }) => seq));
    expect(store.pages.length).toBeGreaterThan(8);
  });

  it('has no end where the store broke off, or a single row is too large', async () => {
    for (const faults of [{ rowsMax: 10, pagesMax: 6 }, { rowsMax: 0 }]) {
      const response = await ask(fakeStore(ROWS, faults));
      expect(response instanceof Error ? '' : response.body).not.toContain('"end"');
    }
  });

  it('takes no other content than full and none', async () => {
    const deps = fakeStore(ROWS, { rowsMax: 1000 });
    const response = await ask(deps, '?content=half');
    expect(response instanceof Error ? 0 : response.statusCode).toBe(500);
  });

  it('shows a value in a column that the kind does not have, and hides it without content', async () => {
    const at = ROWS.findIndex(({ kind }) => kind === 'exit');
    const rows = ROWS.map((row, i) => (i === at ? { ...row, prompt: 'slipped in' } : row));
    const [full, none] = [
      await ask(fakeStore(rows, { rowsMax: 1000 })),
      await ask(fakeStore(rows, { rowsMax: 1000 }), '?content=none'),
    ];
    if (full instanceof Error || none instanceof Error) throw new Error('no answer');
    expect(lines(full.body).filter((one) => one.strangers !== undefined)).toMatchObject([
      { strangers: { prompt: 'slipped in' } },
    ]);
    expect(none.body).not.toContain('slipped in');
    expect(lines(none.body).filter((one) => one.strangers !== undefined)).toHaveLength(1);
  });

  it('gives the place alone of an event of a kind that it does not know', async () => {
    const rows = ROWS.map((row, i) => (i === 7 ? { ...row, kind: 'made.up' } : row));
    const response = await ask(fakeStore(rows, { rowsMax: 1000 }));
    if (response instanceof Error) throw response;
    expect(lines(response.body).filter((one) => one.unknown !== undefined)).toMatchObject([
      { unknown: { kind: 'made.up', seq: rows[7]?.seq } },
    ]);
  });
});
