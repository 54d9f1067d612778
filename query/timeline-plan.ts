/** Events of a session, and their content -> the statements that read them. */
import { selectEvent } from '#schemas';
import type { EventPlace } from './cursor.ts';
import { type EventFilter, eventConditions, streamCondition } from './event-filter.ts';
import { CONTENT, NARROW, ofSession, TIME64 } from './plan.ts';
import type { SessionBounds } from './render.ts';
import { type Condition, condition, type ScopedSql, select } from './sql.ts';

/** As the table is stored, within a session. */
const PLACE = 'ts, seq, toString(stream_id)';
/**
 * By an expression of `ts`: for the bare column and up to 1000 rows the engine filters by the best so
 * far while it reads (`use_top_k_dynamic_filtering`), and forgets which granules hold the session. Over
 * 75 parts that cost the first page of a session 53 ms of CPU instead of 37, the next ones 55 instead
 * of 16, and those of a session of a million events 97 instead of 48.
 */
const IN_ORDER = 'toUnixTimestamp64Nano(ts), seq, toString(stream_id)';
const IN_REVERSE = 'toUnixTimestamp64Nano(ts) DESC, seq DESC, toString(stream_id) DESC';

/** What of a timeline is read: the events between two places, from one of its ends. */
export interface Window {
  readonly after?: EventPlace | undefined;
  readonly before?: EventPlace | undefined;
  /** From the end backwards; rows then come in the reverse order. */
  readonly backwards?: boolean;
  /**
   * For wide pages that follow each other to the end of a session: the engine reads no further than
   * the page, where it would else look at the keys (or, before lazy reads, the rows) of all the rest.
   */
  readonly asStored?: boolean;
}

/**
 * The keyset of one side of a window. The plain comparison of `ts` stands beside it so that
 * partitions and granules outside of the window are not read. `or` takes the place itself in.
 */
function beyond(side: 'after' | 'before', place: EventPlace, or = ''): Condition[] {
  const than = side === 'after' ? '>' : '<';
  const params = {
    [`${side}_ts`]: place.ts,
    [`${side}_seq`]: place.seq,
    [`${side}_stream`]: place.streamId,
  };
  return [
    condition(`ts ${than}= {${side}_ts:${TIME64}}`, { [`${side}_ts`]: place.ts }),
    condition(
      `(${PLACE}) ${than}${or} ({${side}_ts:${TIME64}}, {${side}_seq:UInt32}, {${side}_stream:String})`,
      params,
    ),
  ];
}

/** Conditions on the rows of one session: a filter's, and those of a scope that was worked out. */
export interface Narrowing {
  readonly filter?: EventFilter;
  readonly scope?: Condition | undefined;
  readonly bounds?: SessionBounds | undefined;
}

/**
 * A session's rows, and where the times of all its rows are known, those alone. The sort key begins
 * with the session, whose id says nothing of time, so without them one granule of every part is read:
 * of 83 parts that was two thirds of a page.
 */
const ofWhole = (session: string, bounds: SessionBounds | undefined): Condition[] => [
  ofSession(session),
  ...(bounds === undefined
    ? []
    : [
        condition(`ts >= {lowest:${TIME64}} AND ts <= {highest:${TIME64}}`, {
          lowest: bounds.lowestNs,
          highest: bounds.highestNs,
        }),
      ]),
];

const narrowed = (session: string, { filter = {}, scope, bounds }: Narrowing) => [
  ...ofWhole(session, bounds),
  ...eventConditions(filter),
  scope,
];

/** One page of a timeline in the session's order, or in its reverse, and one row more. */
export function timelinePlan(
  tenant: string,
  session: string,
  size: number,
  narrowing: Narrowing = {},
  window: Window = {},
  columns: readonly string[] = NARROW,
): ScopedSql {
  const { after, before, backwards, asStored } = window;
  return select(tenant, {
    columns: selectEvent(columns),
    from: 'events',
    where: [
      ...(after === undefined ? [] : beyond('after', after)),
      ...(before === undefined ? [] : beyond('before', before)),
      ...narrowed(session, narrowing),
    ],
    orderBy: asStored ? PLACE : backwards ? IN_REVERSE : IN_ORDER,
    limit: size + 1,
  });
}

/** Whether a timeline has any event on one side of a place; `inclusive` counts the place as well. */
export const besidePlan = (
  tenant: string,
  session: string,
  narrowing: Narrowing,
  side: 'after' | 'before',
  place: EventPlace,
  inclusive: boolean,
): ScopedSql =>
  select(tenant, {
    columns: '1 AS found',
    from: 'events',
    where: [...beyond(side, place, inclusive ? '=' : ''), ...narrowed(session, narrowing)],
    limit: 1,
  });

/** All events of a session in no order, whole; `limit` rows at most. */
export const sessionEventsPlan = (
  tenant: string,
  session: string,
  limit: number,
  bounds?: SessionBounds,
): ScopedSql =>
  select(tenant, {
    columns: selectEvent(),
    from: 'events',
    where: ofWhole(session, bounds),
    limit,
  });

/** All events of one stream by number, whole, for the hash chain. */
export const streamEventsPlan = (tenant: string, session: string, stream: string): ScopedSql =>
  select(tenant, {
    columns: selectEvent(),
    from: 'events',
    where: [ofSession(session), streamCondition(stream)],
    orderBy: 'seq',
  });

/** What a process is told from; see `process-scope.ts`. */
const PROCESS_COLUMNS = ['session_id', 'stream_id', 'seq', 'kind', 'ts', 'pid', 'ppid', 'outcome'];

/** Events of some kinds that name a pid, in no order, with what processes are told from. */
export const processEventsPlan = (
  tenant: string,
  session: string,
  kinds: readonly string[],
  limit: number,
): ScopedSql =>
  select(tenant, {
    columns: selectEvent(PROCESS_COLUMNS),
    from: 'events',
    where: [
      ofSession(session),
      condition('has({process_kinds:Array(String)}, toString(kind))', { process_kinds: kinds }),
      condition('pid != 0'),
    ],
    limit,
  });

/** One event by its stream and number. */
export const eventPlan = (tenant: string, stream: string, seq: number): ScopedSql =>
  select(tenant, {
    columns: selectEvent(NARROW),
    from: 'events',
    where: [streamCondition(stream), condition('seq = {seq:UInt32}', { seq })],
    limit: 1,
  });

/** Which events' content to read; all of one session. */
export interface ContentKeys {
  readonly session: string;
  readonly from: string;
  readonly to: string;
  readonly streams: readonly string[];
  readonly seqs: readonly number[];
}

/** Content columns of some events, each under its own name. `charactersMax` cuts them in the store. */
export function contentPlan(
  tenant: string,
  keys: ContentKeys,
  names: readonly string[],
  charactersMax?: number,
): ScopedSql {
  for (const name of names)
    if (!CONTENT.includes(name)) throw new Error(`not a content column: ${name}`);
  const cut = (name: string) =>
    charactersMax === undefined
      ? name
      : `substringUTF8(${name}, 1, ${Math.round(charactersMax)}) AS cut_${name}`;
  return select(tenant, {
    columns: ['toString(stream_id) AS stream', 'seq', ...names.map(cut)].join(', '),
    from: 'events',
    where: [
      ofSession(keys.session),
      condition(`ts >= {since:${TIME64}} AND ts <= {until:${TIME64}}`, {
        since: keys.from,
        until: keys.to,
      }),
      condition('has({seqs:Array(UInt32)}, seq)', { seqs: keys.seqs }),
      condition('has({streams:Array(String)}, toString(stream_id))', { streams: keys.streams }),
    ],
  });
}
