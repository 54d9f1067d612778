/**
 * The historic side of rules: a backtest over what is stored. SQL finds the sessions and rows that
 * could matter; the live engine's own tests and matchers decide, so both say the same.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type Alert,
  type Backtest,
  BacktestError,
  columnsFor,
  createBacktest,
  createRuleSet,
  knownEventOf,
  needOf,
  type QueryLimits,
  type Row,
  type Rule,
  type RuleNeed,
  rowReader,
  STREAM_LIMITS,
  type StreamLimits,
  type TelltaleEvent,
  type Views,
  type Wanted,
} from '#schemas';
import { QueryError } from './errors.ts';
import { huntSessionsPlan } from './hunt-find.ts';
import {
  huntNovelPlan,
  huntOrderedPlan,
  huntRowsPlan,
  kindsRead,
  placesIn,
  type SessionNeeds,
  type Sessions,
  type Span,
} from './hunt-plan.ts';
import type { Runner } from './run.ts';

/** The most sessions that one backtest looks into. */
export const HUNT_SESSIONS_MAX = 1_000_000;
/** Sessions whose rows are read together, at most … */
const CHUNK_SESSIONS = 5_000;
/** … and how many rows they may have that matter to any rule, before it is known how many of these
 * are read, and ever. A session of more rows than the first is read alone and in order. */
const CHUNK_ROWS = 200_000;
const CHUNK_ROWS_MAX = 1_000_000;
/** Events that are held of the sessions that are read together, as far as it can be foreseen. */
const CHUNK_EVENTS = 100_000;
/** Events that are judged before whoever else waits for this thread gets a turn. */
const TURN_EVENTS = 2_000;
/** Dozens of conditions cost as much for a block of few rows as for one of many. */
const BLOCK_ROWS = 65_536;

const FIND_LIMITS: QueryLimits = {
  timeMs: 300_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: HUNT_SESSIONS_MAX + 1,
  blockRows: BLOCK_ROWS,
};
const READ_LIMITS: QueryLimits = {
  timeMs: 600_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: 100_000_000,
  blockRows: BLOCK_ROWS,
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

async function findSessions(
  run: Reader,
  needs: readonly RuleNeed[],
  span: Span,
): Promise<Map<string, SessionNeeds>> {
  const plan = huntSessionsPlan(run.tenant, needs, span, HUNT_SESSIONS_MAX + 1);
  const found = new Map<string, SessionNeeds>();
  type Found = {
    readonly session: string;
    readonly hash: string;
    readonly rows_count: string;
    readonly rules: number[];
    readonly keys: string[][];
  };
  for await (const rows of run.stream<Found>(plan, FIND_LIMITS))
    for (const { session, hash, rows_count, rules, keys } of rows) {
      const met = rules.flatMap((one, place) => (Number(one) === 1 ? [place] : []));
      const byRule = new Map(met.map((place) => [place, keys[place] ?? []] as const));
      found.set(session, { hash, rows: Number(rows_count), byRule });
    }
  if (found.size > HUNT_SESSIONS_MAX)
    throw new QueryError(
      'REQUEST_TOO_LARGE',
      `more than ${HUNT_SESSIONS_MAX} sessions: take less time`,
    );
  return found;
}

const FIRST_INPUT = 0;
/** What the place of a list says of its rows, or the list of its kind. */
const PLACED = new Set(['tenant', 'session_id', 'stream_id', 'kind']);
/** The rows of a stretch of a stream, as `huntRowsPlan` gives them. */
type Listed = {
  readonly session: string;
  readonly stream: string;
  readonly list: readonly (readonly unknown[])[];
};
type Place = readonly [session: string, stream: string, seq: string, ts: string, observed: string];

/** The events that stand for all that are alike; the same one twice where there is one only. */
function* novelEvents(rows: readonly Row[], tenant: string): Generator<TelltaleEvent> {
  for (const { first, last, ...alike } of rows)
    for (const place of String(first) === String(last) ? [first] : [first, last]) {
      const [session_id, stream_id, seq, ts, observed_ts] = place as Place;
      const event = knownEventOf({ ...alike, tenant, session_id, stream_id, seq, ts, observed_ts });
      if (event !== undefined) yield event;
    }
}

/** Sessions, of as many rows at a time as `rowsMax` says then, those of very many rows alone. */
function* chunks(
  sessions: ReadonlyMap<string, SessionNeeds>,
  rowsMax: () => number,
): Generator<Sessions> {
  let chunk = new Map<string, SessionNeeds>();
  let rows = 0;
  for (const [session, needs] of sessions) {
    const full = chunk.size >= CHUNK_SESSIONS || rows + needs.rows > rowsMax();
    if (chunk.size > 0 && (full || needs.rows > CHUNK_ROWS)) {
      yield chunk;
      chunk = new Map();
      rows = 0;
    }
    chunk.set(session, needs);
    rows += needs.rows;
    if (needs.rows <= CHUNK_ROWS) continue;
    yield chunk;
    chunk = new Map();
    rows = 0;
  }
  if (chunk.size > 0) yield chunk;
}

/** The blocks of a stream, the next one asked for while the last is worked on. */
async function* ahead<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
  const blocks = source[Symbol.asyncIterator]();
  let next = blocks.next();
  try {
    for (;;) {
      const { value, done } = await next;
      if (done === true) return;
      next = blocks.next();
      next.catch(() => {});
      yield value;
    }
  } finally {
    await blocks.return?.();
  }
}

/** As the collectors took them in: each stream in the order of its numbers. */
const bySight = (a: TelltaleEvent, b: TelltaleEvent): number => {
  if (a.observed_ts !== b.observed_ts) return a.observed_ts < b.observed_ts ? -1 : 1;
  if (a.stream_id !== b.stream_id) return a.stream_id < b.stream_id ? -1 : 1;
  return a.seq - b.seq;
};

const within = ({ from, to }: Span, alert: Alert): boolean => {
  const ns = BigInt(alert.events.at(-1)?.ts ?? 0);
  return ns >= BigInt(from) && ns <= BigInt(to);
};

/** What the rules of a backtest remember at once: more than live, which lets go of what is old. */
const HUNT_STREAM_LIMITS: StreamLimits = { ...STREAM_LIMITS, groupsMax: 2_000_000 };

/** One hunt: what was found so far, and the steps that find more. */
class Chase {
  readonly #run: Reader;
  readonly #options: HuntOptions;
  readonly #needs: readonly RuleNeed[];
  readonly #test: Backtest;
  readonly #sessions: Map<string, SessionNeeds>;
  readonly alerts: Alert[] = [];
  #events = 0;

  /** `sessions`: those that were found; of the rules only those are run that any of these wants. */
  constructor(
    run: Reader,
    options: HuntOptions,
    needs: readonly RuleNeed[],
    sessions: Map<string, SessionNeeds>,
  ) {
    this.#run = run;
    this.#options = options;
    this.#needs = needs;
    this.#sessions = sessions;
    const places = placesIn(sessions);
    const rules = needs.flatMap(({ rule, novel }, place) =>
      novel !== undefined || places.has(place) ? [rule] : [],
    );
    this.#test = createBacktest(createRuleSet(rules), options.views(), HUNT_STREAM_LIMITS);
  }

  get stats(): HuntStats {
    return { sessions: this.#sessions.size, events: this.#events, hits: this.#test.hits };
  }

  /** Shows rules of a tenant the events that can be new; gives the sessions that these are of. */
  async #showNovel(need: RuleNeed): Promise<ReadonlySet<string>> {
    const among = new Set<string>();
    if (need.novel === undefined) return among;
    const { tenant } = this.#run;
    const plan = huntNovelPlan(tenant, need, need.novel, this.#options.span);
    const wanted = new Map([[need.rule, new Set([FIRST_INPUT])]]);
    for await (const rows of ahead(this.#run.stream<Row>(plan, READ_LIMITS)))
      for (const event of novelEvents(rows, tenant)) {
        among.add(event.session_id);
        this.#events++;
        this.alerts.push(...this.#test.add([event], wanted));
      }
    return among;
  }

  /** Shows what can be new, and lets go of the sessions that have nothing of it. */
  async #findNovel(): Promise<void> {
    const sessions = this.#sessions;
    for (const [place, need] of this.#needs.entries()) {
      if (need.novel === undefined) continue;
      const alone = need.rows.length === 1;
      const opened = [...sessions.values()].some(({ byRule }) => byRule.has(place));
      const among = alone || opened ? await this.#showNovel(need) : undefined;
      for (const [session, needs] of sessions) {
        if (!needs.byRule.has(place) || among?.has(session)) continue;
        const byRule = new Map(needs.byRule);
        byRule.delete(place);
        sessions.set(session, { ...needs, byRule });
      }
    }
    for (const [session, { byRule }] of sessions) if (byRule.size === 0) sessions.delete(session);
  }

  /** The rules that may say something of a session, and by which of their inputs. */
  #wantedOf({ byRule }: SessionNeeds): Wanted {
    return new Map(
      [...byRule.keys()].map((place) => {
        const { rule, rows, novel } = this.#needs[place] as RuleNeed;
        // What can be new was shown before.
        const rest = new Set(rows.keys());
        rest.delete(FIRST_INPUT);
        return [rule, novel === undefined ? undefined : rest] as const;
      }),
    );
  }

  /** What the rules say of sessions whose events are all here; others get a turn in between. */
  async #judge(read: ReadonlyMap<string, TelltaleEvent[]>, chunk: Sessions): Promise<void> {
    let turn = 0;
    for (const [session, events] of read) {
      const wanted = this.#wantedOf(chunk.get(session) as SessionNeeds);
      this.alerts.push(...this.#test.add(events.sort(bySight), wanted));
      this.alerts.push(...this.#test.close(this.#run.tenant, session));
      this.#events += events.length;
      turn += events.length;
      if (turn < TURN_EVENTS) continue;
      turn = 0;
      await nextTurn();
    }
    this.#options.progress?.(this.stats);
  }

  /** Reads the rows of some sessions, kind by kind with the columns that its rules ask for. */
  async #read(chunk: Sessions): Promise<Map<string, TelltaleEvent[]>> {
    const { tenant } = this.#run;
    const needs = [...placesIn(chunk)].map((place) => this.#needs[place] as RuleNeed);
    const rules = needs.map(({ rule }) => rule);
    const lineage = needs.some((need) => need.lineage);
    const bySession = new Map<string, TelltaleEvent[]>();
    for (const kind of kindsRead(needs)) {
      const columns = columnsFor(rules, { kind, lineage }).filter((name) => !PLACED.has(name));
      const eventOf = rowReader(kind, columns);
      const plan = huntRowsPlan(tenant, this.#needs, chunk, kind, columns);
      for await (const lists of ahead(this.#run.stream<Listed>(plan, READ_LIMITS)))
        for (const { session, stream, list } of lists) {
          const place = { tenant, session_id: session, stream_id: stream };
          const events = bySession.get(session) ?? [];
          bySession.set(session, events);
          for (const values of list) events.push(eventOf(place, values));
        }
    }
    return bySession;
  }

  /** Reads a session that is too large to be held, and judges it as it comes. */
  async #readLarge(chunk: Sessions): Promise<void> {
    const needs = [...placesIn(chunk)].map((place) => this.#needs[place] as RuleNeed);
    const lineage = needs.some((need) => need.lineage);
    const columns = columnsFor(
      needs.map(({ rule }) => rule),
      { lineage },
    );
    const plan = huntOrderedPlan(this.#run.tenant, this.#needs, chunk, columns);
    for (const [session, of] of chunk) {
      const wanted = this.#wantedOf(of);
      for await (const rows of ahead(this.#run.stream<Row>(plan, READ_LIMITS))) {
        const events = rows.flatMap((row) => knownEventOf(row) ?? []);
        this.#events += events.length;
        this.alerts.push(...this.#test.add(events, wanted));
      }
      this.alerts.push(...this.#test.close(this.#run.tenant, session));
    }
    this.#options.progress?.(this.stats);
  }

  /** While the engine reads the rows of some sessions, those that were read before are judged. */
  async run(): Promise<void> {
    await this.#findNovel();
    let judged = Promise.resolve();
    let rowsMax = CHUNK_ROWS;
    for (const chunk of chunks(this.#sessions, () => rowsMax)) {
      const rows = [...chunk.values()].reduce((sum, one) => sum + one.rows, 0);
      if (chunk.size === 1 && rows > CHUNK_ROWS) {
        await judged;
        await this.#readLarge(chunk);
        continue;
      }
      const read = await this.#read(chunk);
      const events = [...read.values()].reduce((sum, one) => sum + one.length, 1);
      rowsMax = Math.min(Math.max((CHUNK_EVENTS * rows) / events, CHUNK_ROWS), CHUNK_ROWS_MAX);
      await judged;
      judged = this.#judge(read, chunk);
      // Where it fails while more is read, it is told when that has been read.
      judged.catch(() => {});
    }
    await judged;
    this.alerts.push(...this.#test.finish());
  }
}

/**
 * Runs rules over one tenant's stored events; gives the alerts whose last event lies in the span,
 * by the time of that event. Rejects with `QueryError`.
 */
export async function hunt(run: Reader, options: HuntOptions): Promise<Hunt> {
  if (options.rules.length === 0) return { alerts: [], stats: { sessions: 0, events: 0, hits: 0 } };
  const needs = options.rules.map(needOf);
  const chase = new Chase(run, options, needs, await findSessions(run, needs, options.span));
  try {
    await chase.run();
  } catch (error) {
    if (error instanceof BacktestError) throw new QueryError('REQUEST_TOO_LARGE', error.message);
    throw error;
  }
  const last = (alert: Alert) => BigInt(alert.events.at(-1)?.ts ?? 0);
  const inSpan = chase.alerts.filter((alert) => within(options.span, alert));
  inSpan.sort((a, b) => (last(a) < last(b) ? -1 : last(a) > last(b) ? 1 : 0));
  return { alerts: inSpan, stats: chase.stats };
}
