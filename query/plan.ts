/**
 * Plans: what a caller asks for -> the statement that reads it. Pure. Every function takes the
 * tenant first; all values are bound.
 */
import { ALL_FIELDS, type Field, LETTER_ID, REGISTRY, selectEvent } from '#schemas';
import { type EventPlace, isUuid, type SessionPlace } from './cursor.ts';
import { badInput } from './errors.ts';
import { type Condition, condition, containing, type ScopedSql, select } from './sql.ts';

/** The most rows that one page has; more is clamped, not refused. */
export const PAGE_MAX = 1000;
export const PAGE_DEFAULT = 100;
/** The longest string that may stand in a filter. */
export const FILTER_CHARACTERS_MAX = 4096;
const FILTER_ENTRIES_MAX = 100;
/** The most ranges of stored numbers that are read of one session. */
export const RANGES_MAX = 100_000;
/** The most dead letters that are read of one session. */
export const DEAD_LETTERS_MAX = 1000;
/** The most marks of replayed letters that are read of one session. */
export const REPLAYS_MAX = 10_000;

const field = (name: string): Field => ALL_FIELDS[name] as Field;
/** Columns that hold long texts (prompts, outputs): read only when they are asked for. */
export const CONTENT = Object.keys(ALL_FIELDS).filter((name) => field(name).body === true);
/** All other columns. */
export const NARROW: readonly string[] = Object.keys(ALL_FIELDS).filter(
  (name) => field(name).body !== true,
);
const TEXTS = Object.keys(ALL_FIELDS).filter((name) => field(name).shape === 'text');
const WITH = (name: string): readonly string[] =>
  [...REGISTRY.values()].filter(({ own }) => own.includes(name)).map(({ kind }) => kind);

/** `first` as a page size: absent is the default, above the most is the most. */
export function pageSize(first: number | null | undefined): number {
  if (first === undefined || first === null) return PAGE_DEFAULT;
  if (!Number.isSafeInteger(first) || first < 1) throw badInput('first: give a number from 1 on');
  return Math.min(first, PAGE_MAX);
}

function checked(name: string, value: string): string {
  if (value.length > FILTER_CHARACTERS_MAX)
    throw badInput(`${name}: at most ${FILTER_CHARACTERS_MAX} characters`);
  if (!value.isWellFormed()) throw badInput(`${name}: holds a lone surrogate`);
  return value;
}

const has = <T>(value: T | null | undefined): value is T => value !== undefined && value !== null;

const equals = (column: string, name: string, value: string | null | undefined) =>
  has(value)
    ? condition(`${column} = {${name}:String}`, { [name]: checked(name, value) })
    : undefined;

export interface SessionFilter {
  readonly agent?: string | null | undefined;
  readonly host?: string | null | undefined;
  readonly user?: string | null | undefined;
  /** Decimal nanoseconds; sessions that started at or after. */
  readonly startedFrom?: string | null | undefined;
  /** Sessions that started before. */
  readonly startedBefore?: string | null | undefined;
}

const TIME64 = "DateTime64(9, 'UTC')";
const ns = (expression: string) => `toString(toUnixTimestamp64Nano(${expression}))`;
const SESSION_COLUMNS = [
  'toString(session_id) AS id',
  `${ns('min(first_ts)')} AS started`,
  `${ns('max(last_ts)')} AS ended`,
  'max(agent) AS agent_name',
  'max(host) AS host_name',
  'max(user) AS user_name',
].join(', ');

/** One page of sessions, newest first, and one row more. */
export function sessionsPlan(
  tenant: string,
  size: number,
  filter: SessionFilter = {},
  after?: SessionPlace,
): ScopedSql {
  return select(tenant, {
    columns: SESSION_COLUMNS,
    from: 'streams',
    groupBy: 'session_id',
    having: [
      equals('agent_name', 'agent', filter.agent),
      equals('host_name', 'host', filter.host),
      equals('user_name', 'user', filter.user),
      has(filter.startedFrom)
        ? condition(`min(first_ts) >= {since:${TIME64}}`, { since: filter.startedFrom })
        : undefined,
      has(filter.startedBefore)
        ? condition(`min(first_ts) < {until:${TIME64}}`, { until: filter.startedBefore })
        : undefined,
      after === undefined
        ? undefined
        : condition(`(min(first_ts), id) < ({after_ts:${TIME64}}, {after_id:String})`, {
            after_ts: after.startedNs,
            after_id: after.id,
          }),
    ],
    orderBy: 'min(first_ts) DESC, id DESC',
    limit: size + 1,
  });
}

const ofSession = (id: string): Condition =>
  condition('session_id = {session:UUID}', { session: id });

/** One session, as `sessionsPlan` gives it. */
export const sessionPlan = (tenant: string, id: string): ScopedSql =>
  select(tenant, {
    columns: SESSION_COLUMNS,
    from: 'streams',
    where: [ofSession(id)],
    groupBy: 'session_id',
    limit: 1,
  });

/** The streams of a session, by start. */
export const streamsPlan = (tenant: string, id: string, limit: number): ScopedSql =>
  select(tenant, {
    columns: `toString(stream_id) AS stream, ${ns('min(first_ts)')} AS started, ${ns('max(last_ts)')} AS ended, max(last_seq) AS last_number`,
    from: 'streams',
    where: [ofSession(id)],
    groupBy: 'stream_id',
    orderBy: 'min(first_ts), stream',
    limit,
  });

export interface EventFilter {
  readonly kinds?: readonly string[] | null | undefined;
  readonly toolCallId?: string | null | undefined;
  readonly turnId?: string | null | undefined;
  readonly streamId?: string | null | undefined;
  /** Found in a command, argv, prompt, message, argument or output, without regard to case. */
  readonly text?: string | null | undefined;
  /** A path, or what it begins with when it ends in "/". */
  readonly path?: string | null | undefined;
  readonly host?: string | null | undefined;
  readonly from?: string | null | undefined;
  readonly before?: string | null | undefined;
}

function kindsOf(kinds: readonly string[]): Condition {
  if (kinds.length > FILTER_ENTRIES_MAX)
    throw badInput(`kinds: at most ${FILTER_ENTRIES_MAX} entries`);
  for (const kind of kinds)
    if (!REGISTRY.has(kind)) throw badInput(`kinds: no such kind: ${checked('kinds', kind)}`);
  return condition('has({kinds:Array(String)}, toString(kind))', { kinds });
}

function pathCondition(path: string): Condition {
  const params = { path: checked('path', path) };
  return path.endsWith('/')
    ? condition(
        'startsWith(file_path, {path:String}) OR startsWith(file_target_path, {path:String})',
        params,
      )
    : condition('file_path = {path:String} OR file_target_path = {path:String}', params);
}

function textCondition(text: string): Condition {
  const columns = [...TEXTS.filter((name) => field(name).body || name === 'command'), 'argv_line'];
  return condition(columns.map((name) => `${name} ILIKE {text:String}`).join(' OR '), {
    text: containing(checked('text', text)),
  });
}

function streamCondition(id: string): Condition {
  if (!isUuid(id)) throw badInput('streamId: not a UUID');
  return condition('stream_id = {stream:UUID}', { stream: id });
}

/** The conditions of a timeline's filter. Throws `QueryError` for a filter that can't be meant. */
export function eventConditions(filter: EventFilter): (Condition | undefined)[] {
  return [
    has(filter.kinds) ? kindsOf(filter.kinds) : undefined,
    equals('tool_call_id', 'call', filter.toolCallId),
    equals('turn_id', 'turn', filter.turnId),
    has(filter.streamId) ? streamCondition(filter.streamId) : undefined,
    has(filter.text) ? textCondition(filter.text) : undefined,
    has(filter.path) ? pathCondition(filter.path) : undefined,
    has(filter.host)
      ? condition('net_host = {host:String} OR net_ip = {host:String}', {
          host: checked('host', filter.host),
        })
      : undefined,
    has(filter.from) ? condition(`ts >= {since:${TIME64}}`, { since: filter.from }) : undefined,
    has(filter.before) ? condition(`ts < {until:${TIME64}}`, { until: filter.before }) : undefined,
  ];
}

const IN_ORDER = 'ts, seq, toString(stream_id)';

/**
 * One page of a timeline in the session's order, and one row more. `ts >=` stands beside the
 * keyset so that partitions and granules before the page are not read.
 */
export function timelinePlan(
  tenant: string,
  session: string,
  size: number,
  filter: EventFilter = {},
  after?: EventPlace,
  columns: readonly string[] = NARROW,
): ScopedSql {
  const keyset =
    after === undefined
      ? []
      : [
          condition(`ts >= {after_ts:${TIME64}}`, { after_ts: after.ts }),
          condition(
            `(${IN_ORDER}) > ({after_ts:${TIME64}}, {after_seq:UInt32}, {after_stream:String})`,
            { after_ts: after.ts, after_seq: after.seq, after_stream: after.streamId },
          ),
        ];
  return select(tenant, {
    columns: selectEvent(columns),
    from: 'events',
    where: [ofSession(session), ...keyset, ...eventConditions(filter)],
    orderBy: IN_ORDER,
    limit: size + 1,
  });
}

/** All events of a session in no order, whole; `limit` rows at most. */
export const sessionEventsPlan = (tenant: string, session: string, limit: number): ScopedSql =>
  select(tenant, { columns: selectEvent(), from: 'events', where: [ofSession(session)], limit });

/** All events of one stream by number, whole, for the hash chain. */
export const streamEventsPlan = (tenant: string, session: string, stream: string): ScopedSql =>
  select(tenant, {
    columns: selectEvent(),
    from: 'events',
    where: [ofSession(session), streamCondition(stream)],
    orderBy: 'seq',
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

/** Ranges of consecutive numbers per stream, by the engine: numbers minus their rank are islands. */
function ranges(tenant: string, distinct: ScopedSql): ScopedSql {
  const ranked = select(tenant, {
    columns:
      'stream, number, number - row_number() OVER (PARTITION BY stream ORDER BY number) AS island',
    from: distinct,
  });
  return select(tenant, {
    columns: 'stream, min(number) AS first, max(number) AS last',
    from: ranked,
    groupBy: 'stream, island',
    orderBy: 'stream, first',
    limit: RANGES_MAX + 1,
  });
}

/** The stored numbers of each stream of a session, as ranges. */
export const storedRangesPlan = (tenant: string, session: string): ScopedSql =>
  ranges(
    tenant,
    select(tenant, {
      columns: 'DISTINCT toString(stream_id) AS stream, toInt64(seq) AS number',
      from: 'events',
      where: [ofSession(session)],
    }),
  );

/** The parked numbers of each stream of a session, as ranges. */
export const parkedRangesPlan = (tenant: string, session: string): ScopedSql =>
  ranges(
    tenant,
    select(tenant, {
      columns: 'DISTINCT stream_id AS stream, toInt64(assumeNotNull(seq)) AS number',
      from: 'dead',
      where: [
        condition('session_id = {session_text:String}', { session_text: session }),
        condition('isNotNull(seq)'),
      ],
    }),
  );

/** Declared gaps of a session's streams. */
export const gapsPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns: 'toString(stream_id) AS stream, gap_first_seq, gap_last_seq, gap_count',
    from: 'events',
    where: [ofSession(session), kindsOf(WITH('gap_reason'))],
    orderBy: 'stream, ts, seq',
    limit: RANGES_MAX + 1,
  });

/** The count in each stream's close. */
export const closesPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns: 'toString(stream_id) AS stream, max(chain_count) AS count',
    from: 'events',
    where: [ofSession(session), kindsOf(WITH('close_reason'))],
    groupBy: 'stream',
    limit: RANGES_MAX,
  });

/** Dead letters of a session, oldest first, without their bytes: those of `replayed`, or the others. */
export const deadLettersPlan = (
  tenant: string,
  session: string,
  replayed: readonly string[],
  which: 'standing' | 'replayed',
): ScopedSql =>
  select(tenant, {
    columns: `${LETTER_ID} AS id, stream_id AS stream, seq, reason, field, detail, origin, toString(toUnixTimestamp64Milli(parked_at)) AS parked_ms`,
    from: 'dead',
    where: [
      condition('session_id = {session_text:String}', { session_text: session }),
      condition(`has({replayed:Array(String)}, id) = ${which === 'replayed'}`, { replayed }),
    ],
    orderBy: 'parked_at, stream, seq',
    limit: DEAD_LETTERS_MAX,
  });

/** What became of dead letters of a session that were tried again, the newest first. */
export const replaysPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns:
      'letter_id AS letter, outcome, toString(toUnixTimestamp64Milli(replayed_at)) AS replayed_ms',
    from: 'replays',
    where: [condition('session_id = {session_text:String}', { session_text: session })],
    orderBy: 'replayed_at DESC, letter',
    limit: REPLAYS_MAX,
  });
