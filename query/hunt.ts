/**
 * The historic side of rules: a backtest over what is stored. SQL finds the sessions and rows that
 * could matter; the live engine's own tests and matchers decide, so both say the same.
 */
import {
  type Alert,
  BacktestError,
  columnsFor,
  createBacktest,
  createRuleSet,
  knownEventOf,
  needOf,
  type QueryLimits,
  type Row,
  type Rule,
  type Views,
} from '#schemas';
import { QueryError } from './errors.ts';
import { huntRowsPlan, huntSessionsPlan, type Sessions, type Span } from './hunt-plan.ts';
import type { Runner } from './run.ts';

/** The most sessions that one backtest looks into. */
export const HUNT_SESSIONS_MAX = 1_000_000;
/** Sessions whose rows are read by one statement. */
const CHUNK_SESSIONS = 500;

const FIND_LIMITS: QueryLimits = {
  timeMs: 300_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: HUNT_SESSIONS_MAX + 1,
};
const READ_LIMITS: QueryLimits = {
  timeMs: 600_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: 100_000_000,
};

export interface HuntStats {
  /** Sessions of which a rule could have said something. */
  readonly sessions: number;
  /** Events that were read of them. */
  readonly events: number;
  /** Of these, how many stream rules kept. */
  readonly hits: number;
}

export interface Hunt {
  readonly alerts: readonly Alert[];
  readonly stats: HuntStats;
}

export interface HuntOptions {
  readonly rules: readonly Rule[];
  /** Makes the views of events, with a memory of its own for the programs behind them. */
  readonly views: () => Views;
  readonly span: Span;
  readonly progress?: (done: HuntStats) => void;
}

/** The part of a runner that a hunt needs. */
export type Reader = Pick<Runner, 'tenant' | 'stream'>;

async function findSessions(run: Reader, options: HuntOptions): Promise<Sessions> {
  const needs = options.rules.map(needOf);
  const plan = huntSessionsPlan(run.tenant, needs, options.span, HUNT_SESSIONS_MAX + 1);
  const found = new Map<string, ReadonlyMap<number, readonly string[]>>();
  type Found = { readonly session: string; readonly rules: number[]; readonly keys: string[][] };
  for await (const rows of run.stream<Found>(plan, FIND_LIMITS))
    for (const { session, rules, keys } of rows)
      found.set(
        session,
        new Map(
          rules.flatMap((met, place) => (Number(met) === 1 ? [[place, keys[place] ?? []]] : [])),
        ),
      );
  if (found.size > HUNT_SESSIONS_MAX)
    throw new QueryError(
      'REQUEST_TOO_LARGE',
      `more than ${HUNT_SESSIONS_MAX} sessions: take less time`,
    );
  return found;
}

const within = ({ from, to }: Span, alert: Alert): boolean => {
  const ns = BigInt(alert.events.at(-1)?.ts ?? 0);
  return ns >= BigInt(from) && ns <= BigInt(to);
};

/**
 * Runs rules over one tenant's stored events; gives the alerts whose last event lies in the span,
 * by the time of that event. Rejects with `QueryError`.
 */
export async function hunt(run: Reader, options: HuntOptions): Promise<Hunt> {
  const { rules, span } = options;
  if (rules.length === 0) return { alerts: [], stats: { sessions: 0, events: 0, hits: 0 } };
  const needs = rules.map(needOf);
  const columns = columnsFor(rules);
  const sessions = await findSessions(run, options);
  const test = createBacktest(createRuleSet(rules), options.views());
  const alerts: Alert[] = [];
  let events = 0;
  const stats = () => ({ sessions: sessions.size, events, hits: test.hits });

  /** Rows come session by session, so each is judged and let go when the next one begins. */
  async function read(chunk: Sessions): Promise<void> {
    const plan = huntRowsPlan(run.tenant, needs, chunk, columns);
    let session: string | undefined;
    let wanted: ReadonlySet<Rule> | undefined;
    const close = () => {
      if (session !== undefined) alerts.push(...test.close(run.tenant, session));
    };
    for await (const rows of run.stream<Row>(plan, READ_LIMITS))
      for (const row of rows) {
        const event = knownEventOf(row);
        if (event === undefined) continue;
        if (event.session_id !== session) {
          close();
          session = event.session_id;
          wanted = new Set(
            [...(chunk.get(session)?.keys() ?? [])].map((place) => rules[place] as Rule),
          );
        }
        events++;
        alerts.push(...test.add([event], wanted));
      }
    close();
    options.progress?.(stats());
  }

  try {
    const sorted = [...sessions].sort(([a], [b]) => (a < b ? -1 : 1));
    for (let at = 0; at < sorted.length; at += CHUNK_SESSIONS)
      await read(new Map(sorted.slice(at, at + CHUNK_SESSIONS)));
    alerts.push(...test.finish());
  } catch (error) {
    if (error instanceof BacktestError) throw new QueryError('REQUEST_TOO_LARGE', error.message);
    throw error;
  }
  const last = (alert: Alert) => BigInt(alert.events.at(-1)?.ts ?? 0);
  const inSpan = alerts.filter((alert) => within(span, alert));
  inSpan.sort((a, b) => (last(a) < last(b) ? -1 : last(a) > last(b) ? 1 : 0));
  return { alerts: inSpan, stats: stats() };
}
