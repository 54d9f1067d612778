/**
 * The one oracle: what the collectors numbered (`truth.ts`) against what the table holds.
 *
 * The table is read three ways, none with FINAL: `count()` beside `uniqExact`, every row turned back
 * into its canonical line and compared by digest, and the account that users are given
 * (`query/accounts.ts`: ranges by SQL, `accountFor`). All three must agree with the truth, and where
 * numbers are missing the account must name exactly them.
 */
import {
  countRanges,
  EVENTS_TABLE,
  encode,
  fromRow,
  type Log,
  type QueryLimits,
  type Range,
  type Ranges,
  rowOf,
  type Store,
  selectEvent,
  toRanges,
} from '#schemas';
import { openStore } from '../../deploy/stores/open.ts';
import { accountsOf, type Verdict } from '../../query/accounts.ts';
import { runnerFor } from '../query/access.ts';
import { digestOf, readTruth, type StreamTruth } from './truth.ts';

const LIMITS: QueryLimits = { timeMs: 600_000, memoryBytesMax: 4e9, rowsMax: 50_000_000 };
const TENANT = 'default';

export interface Found {
  readonly streams: number;
  /** Numbers that collectors gave out. */
  readonly produced: number;
  readonly stored: number;
  readonly distinct: number;
  /** Rows that are not the line that was numbered. */
  readonly altered: number;
  readonly missing: number;
  readonly parked: number;
  readonly declared: number;
  readonly unaccounted: number;
  readonly verdicts: Readonly<Partial<Record<Verdict, number>>>;
  /** What the account says other than the truth; empty is what it must be. */
  readonly disagreements: readonly string[];
}

/** What the table holds of one stream, as it comes by. */
class Seen {
  readonly rows = new Map<number, number>();
  altered = 0;
  closed = false;
  readonly truth: StreamTruth;
  constructor(truth: StreamTruth) {
    this.truth = truth;
  }
}

async function readTable(store: Store, byStream: ReadonlyMap<string, Seen>, faults: string[]) {
  const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE}`;
  for await (const rows of store.stream({ text, params: {} }, LIMITS))
    for (const row of rows) {
      const event = fromRow(rowOf(row));
      const seen = byStream.get(event.stream_id);
      if (seen === undefined) {
        faults.push(`stream ${event.stream_id} is in the table and was never numbered`);
        continue;
      }
      seen.rows.set(event.seq, (seen.rows.get(event.seq) ?? 0) + 1);
      if (event.kind === 'session.close') seen.closed = true;
      if (!digestOf(encode(event)).equals(seen.truth.digest(event.seq))) seen.altered++;
    }
}

const text = (ranges: Ranges): string => ranges.map(([a, b]) => `${a}-${b}`).join(',');

/** The numbers that a collector gave out: a killed one's last batch counts as far as it arrived. */
function producedOf({ truth, rows }: Seen): number {
  let produced = truth.done;
  for (let seq = truth.done; seq < truth.given; seq++) if (rows.has(seq)) produced = seq + 1;
  return produced;
}

/** Checks the count of the engine itself against that of the rows that were read. */
async function directCounts(store: Store) {
  const sql = `SELECT count() AS rows, uniqExact(stream_id, seq) AS ids FROM ${EVENTS_TABLE}`;
  const [row] = await store.query({ text: sql, params: {} }, LIMITS);
  return { stored: Number(row?.rows), distinct: Number(row?.ids) };
}

/** Compares; the whole table must be of these collectors. `url` names the store. */
export async function compare(url: string, truthDirs: readonly string[], log: Log): Promise<Found> {
  const store = await openStore(url, { log });
  try {
    return await compareIn(store, truthDirs.flatMap(readTruth));
  } finally {
    await store.close();
  }
}

async function compareIn(store: Store, truths: readonly StreamTruth[]): Promise<Found> {
  const disagreements: string[] = [];
  const byStream = new Map(truths.map((truth) => [truth.identity.stream_id, new Seen(truth)]));
  await readTable(store, byStream, disagreements);
  const run = runnerFor(store, TENANT);
  const verdicts: Partial<Record<Verdict, number>> = {};
  const sum = { produced: 0, altered: 0, missing: 0, parked: 0, declared: 0, unaccounted: 0 };
  for (const [stream, seen] of byStream) {
    const produced = producedOf(seen);
    const missing = toRanges(
      Array.from({ length: produced }, (_, seq) => seq).filter((seq) => !seen.rows.has(seq)),
    );
    sum.produced += produced;
    sum.altered += seen.altered;
    sum.missing += countRanges(missing);
    const account = (await accountsOf(run, seen.truth.identity.session_id)).get(stream);
    if (account === undefined) {
      disagreements.push(`stream ${stream}: ${produced} numbers and no account at all`);
      continue;
    }
    verdicts[account.verdict] = (verdicts[account.verdict] ?? 0) + 1;
    sum.parked += account.parked;
    sum.declared += account.declaredMissing + account.unnumberedLost;
    sum.unaccounted += countRanges(account.unaccounted);
    // What stood behind the last number that arrived can't be known: then the stream is not closed.
    const knowable = missing.flatMap(([a, b]): Range[] =>
      a >= account.produced ? [] : [[a, Math.min(b, account.produced - 1)]],
    );
    const named = text(account.unaccounted);
    if (named !== text(knowable))
      disagreements.push(`stream ${stream}: missing ${text(knowable)}, the account says ${named}`);
    if (account.stored !== seen.rows.size)
      disagreements.push(
        `stream ${stream}: ${seen.rows.size} stored, the account ${account.stored}`,
      );
    const whole = missing.length === 0;
    const honest = whole
      ? account.verdict === (seen.closed ? 'complete' : 'open')
      : account.verdict === 'incomplete' || (account.verdict === 'open' && !seen.closed);
    if (!honest)
      disagreements.push(`stream ${stream}: ${countRanges(missing)} missing, ${account.verdict}`);
  }
  const direct = await directCounts(store);
  const rows = [...byStream.values()].flatMap((seen) => [...seen.rows.values()]);
  const read = rows.reduce((n, count) => n + count, 0);
  if (direct.stored !== read || direct.distinct !== rows.length)
    disagreements.push(`count() ${direct.stored}/${direct.distinct}, read ${read}/${rows.length}`);
  return { streams: byStream.size, ...sum, ...direct, verdicts, disagreements };
}

/** Nothing missing, nothing doubled, nothing other than it was, and the account says so. */
export const isWhole = (found: Found): boolean =>
  found.missing + found.altered + found.parked + found.declared + found.unaccounted === 0 &&
  found.stored === found.produced &&
  found.distinct === found.produced &&
  found.disagreements.length === 0;
