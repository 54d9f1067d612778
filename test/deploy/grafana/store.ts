/** A store with something of everything in it, and Grafana's way of asking it. */
import type { Draft, Row, Store } from '#schemas';
import { expand, type Picks, type Range } from '../../../deploy/grafana/macros.ts';
import {
  eventsIn,
  insertAlert,
  insertDead,
  insertEvents,
  STREAM,
  stampStream,
  storyDrafts,
} from '../../query/seed.ts';

/** When the seeded session began (test/query/seed.ts), and ten minutes from there. */
const BEGAN_SECONDS = 1_764_000_000;
export const SEEDED: Range = {
  fromSeconds: BEGAN_SECONDS - 60,
  toSeconds: BEGAN_SECONDS + 600,
  intervalSeconds: 60,
};
/** Rows are stamped when they are written: what is asked by that time looks at now. */
export const WRITTEN = (): Range => {
  const nowSeconds = Math.floor(Date.now() / 1000);
  return { fromSeconds: nowSeconds - 3600, toSeconds: nowSeconds + 60, intervalSeconds: 60 };
};

const LIMITS = { timeMs: 20_000, memoryBytesMax: 512 * 1024 ** 2, rowsMax: 10_000 };
/** One letter that is parked now: those of the seed are of long ago. */
const at = (ms: number) => String(BigInt(BEGAN_SECONDS) * 1_000_000_000n + BigInt(ms) * 1_000_000n);
const seen = { source: 'proxy', assurance: 'observed' } as const;

const MORE: readonly Draft[] = [
  {
    kind: 'policy.decision',
    ts: at(60),
    ...seen,
    decision: 'deny',
    policy_type: 'network',
    rule: 'egress',
    policy: 'strict',
    policy_version: '7',
    net_host: 'evil.example',
    net_port: 443,
  },
  {
    kind: 'approval',
    ts: at(61),
    ...seen,
    decision: 'approved',
    decided_by: 'user',
    scope: 'once',
    duration_ns: 1_500_000_000,
  },
  { kind: 'gap', ts: at(62), ...seen, gap_reason: 'spool_full', gap_count: 3 },
] as Draft[];

/** Two streams: a whole one, and one of which numbers are missing. */
export async function fill(store: Store): Promise<void> {
  await insertEvents(store, stampStream({ drafts: [...storyDrafts(), ...MORE] }));
  const torn = stampStream({
    session: '0193a5e0-0000-7000-8000-00000000000b',
    stream: '0193a5e0-0000-7000-8000-0000000000b1',
    host: 'box-2',
    lost: [4, 5],
    close: false,
  });
  await insertEvents(store, torn);
  await insertAlert(store);
  await insertDead(store, { seq: 40, stream: STREAM });
  if (eventsIn(torn).length === 0) throw new Error('nothing was seeded');
}

/** Asks as the data source's backend would after Grafana has put its variables in. */
export const ask = (store: Store, sql: string, range: Range, picks: Picks = {}) =>
  store.query<Row>({ text: expand(sql, range, picks), params: {} }, LIMITS);

/** The types of the columns of an answer, in order. */
export async function typesOf(
  store: Store,
  sql: string,
  range: Range,
  columns: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const types = columns.map((name) => `toTypeName(any(${name})) AS ${name}`).join(', ');
  const inner = expand(sql, range);
  const [row] = await store.query<Row>(
    { text: `SELECT ${types} FROM (${inner}) AS asked`, params: {} },
    LIMITS,
  );
  return row as Readonly<Record<string, string>>;
}
