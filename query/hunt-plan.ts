/**
 * The statements of a backtest that read rows: of the sessions that `hunt-find.ts` finds those that
 * matter to their rules, and no others. Pure.
 */
import {
  createRowSql,
  eventColumn,
  PROCESS_KINDS,
  type RowSql,
  type RowTest,
  type RuleNeed,
  selectEvent,
} from '#schemas';
import { type Condition, condition, type ScopedSql, select } from './sql.ts';

/** Nanoseconds since 1970, decimal; both ends belong to it. */
export interface Span {
  readonly from: string;
  readonly to: string;
}

/** What the first statement says of a session. */
export interface SessionNeeds {
  /** The session as one number, as the engine hashes it: for statements over many sessions. */
  readonly hash: string;
  /** Rows of it that matter to any rule at all. */
  readonly rows: number;
  /**
   * The rules that can say something about it, by their places among the needs; for those with a
   * key within the session the keys that all their steps have.
   */
  readonly byRule: ReadonlyMap<number, readonly string[]>;
}
export type Sessions = ReadonlyMap<string, SessionNeeds>;

/** More keys than this of one rule are not asked for one by one. */
const KEYS_MAX = 20_000;
/** Rules that one number tells of, a bit each. */
const MASK_BITS = 32;
/** Numbers of a stream whose rows are one list, so that no list grows without a bound. */
const STRETCH = 1024;

/** A key within a session as one number; equal keys have the same. */
export const keySql = (columns: readonly string[]): string =>
  `cityHash64(session_id, ${columns.map((one) => `ifNull(toString(${one}), '')`).join(', ')})`;

/** When a rule takes an event for having happened: as `ruleTimeNs` has it. */
export const RULE_TIME = 'toUnixTimestamp64Nano(least(ts, observed_ts))';

/**
 * Of the rows that a rule of the tenant takes for new or not, the first and the last of those that
 * are alike within a stretch of time, as the rule orders them: no other can change what it says.
 * From as far before `since` as the rule looks back.
 */
export function huntNovelPlan(
  tenant: string,
  { rows }: RuleNeed,
  { columns, spanNs }: NonNullable<RuleNeed['novel']>,
  { from, to }: Span,
): ScopedSql {
  const write = createRowSql();
  const place =
    '(session_id, stream_id, seq, toUnixTimestamp64Nano(ts), toUnixTimestamp64Nano(observed_ts))';
  const order = `(${RULE_TIME}, toString(stream_id), seq)`;
  const since = (BigInt(from) > spanNs ? BigInt(from) - spanNs : 0n).toString();
  const time = `${RULE_TIME} >= {since:Int64} AND ${RULE_TIME} <= {until:Int64}`;
  return select(tenant, {
    columns: `${columns.join(', ')}, argMin(${place}, ${order}) AS first, argMax(${place}, ${order}) AS last`,
    from: 'events',
    where: [
      condition(write.rows(rows[0] ?? []), write.params),
      condition(time, { since, until: to }),
    ],
    groupBy: `${columns.join(', ')}, intDiv(${RULE_TIME}, ${spanNs})`,
  });
}

/** The tests of the rows that are read of a session for a rule; what can be new is read before. */
const askedOf = ({ rows, novel }: RuleNeed) => (novel === undefined ? rows : rows.slice(1));

type Write = (tests: readonly RowTest[]) => string;

/** The rows of one rule in the sessions that it can say something about; undefined for none. */
function clauseOf(sql: RowSql, write: Write, need: RuleNeed, wanted: readonly string[]) {
  const { lineage, keys } = need;
  const keyed = keys !== undefined && wanted.length <= KEYS_MAX;
  const among = keyed ? sql.bind(wanted, 'UInt64') : '';
  const tests = keyed
    ? askedOf(need).map((some, at) => {
        const rows = write(some);
        return rows === 'false' ? rows : `(${rows}) AND ${keySql(keys[at] ?? [])} IN ${among}`;
      })
    : [write(askedOf(need).flat())];
  if (lineage) tests.push(write([{ kinds: PROCESS_KINDS }]));
  const some = [...new Set(tests)].filter((one) => one !== 'false');
  return some.length === 0 ? undefined : some.map((one) => `(${one})`).join(' OR ');
}

/** For each session and each `MASK_BITS` rules a number with a bit for each rule that it concerns. */
function masksOf(sessions: Sessions, words: number): readonly (readonly string[])[] {
  return Array.from({ length: words }, (_, word) =>
    [...sessions.values()].map(({ byRule }) => {
      let mask = 0n;
      for (const place of byRule.keys())
        if (Math.floor(place / MASK_BITS) === word) mask |= 1n << BigInt(place % MASK_BITS);
      return mask.toString();
    }),
  );
}

/** The rules that can say something of some sessions, by their places. */
export function placesIn(sessions: Sessions): ReadonlySet<number> {
  const places = new Set<number>();
  for (const { byRule } of sessions.values()) for (const place of byRule.keys()) places.add(place);
  return places;
}

/** The rows of some sessions that matter to their rules. */
function rowsIn(
  sql: RowSql,
  write: Write,
  needs: readonly RuleNeed[],
  sessions: Sessions,
): Condition {
  const all = [...sessions.values()];
  const hashes = () =>
    sql.bind(
      all.map(({ hash }) => hash),
      'UInt64',
    );
  const words = masksOf(sessions, Math.ceil(needs.length / MASK_BITS));
  const mask = (word: number) =>
    `transform(cityHash64(session_id), ${hashes()}, ${sql.bind(words[word] ?? [], 'UInt64')}, toUInt64(0))`;
  const clauses = [...placesIn(sessions)].flatMap((place) => {
    const keys = all.flatMap(({ byRule }) => byRule.get(place) ?? []);
    const clause = clauseOf(sql, write, needs[place] as RuleNeed, keys);
    if (clause === undefined) return [];
    if (all.every(({ byRule }) => byRule.has(place))) return [`(${clause})`];
    const concerned = `bitTest(${mask(Math.floor(place / MASK_BITS))}, ${place % MASK_BITS})`;
    return [`(${concerned} AND (${clause}))`];
  });
  const within = `session_id IN ${sql.bind([...sessions.keys()], 'UUID')}`;
  return condition(`${within} AND (${clauses.join(' OR ') || 'false'})`, sql.params);
}

/** The kinds of the rows that are read for some rules. */
export function kindsRead(needs: readonly RuleNeed[]): readonly string[] {
  const kinds = needs.flatMap((need) => [
    ...askedOf(need)
      .flat()
      .flatMap((test) => test.kinds),
    ...(need.lineage ? PROCESS_KINDS : []),
  ]);
  return [...new Set(kinds)].sort();
}

/**
 * The rows of one kind of some sessions that matter to their rules, in no order: for each stream,
 * and each stretch of its numbers, a list of rows, of which each is a list of the values of
 * `columns` in their order.
 */
export function huntRowsPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  sessions: Sessions,
  kind: string,
  columns: readonly string[],
): ScopedSql {
  const sql = createRowSql();
  const ofKind = `kind = ${sql.one(kind)}`;
  const rows = rowsIn(sql, (tests) => sql.rowsOfKind(kind, tests), needs, sessions);
  const values = columns.map(eventColumn).join(', ');
  return select(tenant, {
    columns: `toString(session_id) AS session, toString(stream_id) AS stream, groupArray(tuple(${values})) AS list`,
    from: 'events',
    where: [condition(ofKind, sql.params), rows],
    groupBy: `session_id, stream_id, intDiv(seq, ${STRETCH})`,
  });
}

/** The same rows of all kinds, each session in one piece, as its collectors saw it. */
export function huntOrderedPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  sessions: Sessions,
  columns: readonly string[],
): ScopedSql {
  const sql = createRowSql();
  return select(tenant, {
    columns: selectEvent(columns),
    from: 'events',
    where: [rowsIn(sql, sql.rows, needs, sessions)],
    orderBy: 'session_id, observed_ts, stream_id, seq',
  });
}
