/**
 * The statements of a backtest. The first finds the sessions of which a rule could say anything;
 * the second reads of those the rows that matter to its rules, and no others. Pure.
 */
import { createRowSql, PROCESS_KINDS, type RowTest, type RuleNeed, selectEvent } from '#schemas';
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

/** A key within a session as one number; equal keys have the same. */
const keySql = (columns: readonly string[]): string =>
  `cityHash64(session_id, ${columns.map((one) => `ifNull(toString(${one}), '')`).join(', ')})`;

/** When a rule takes an event for having happened: as `ruleTimeNs` has it. */
const RULE_TIME = 'toUnixTimestamp64Nano(least(ts, observed_ts))';

/** Conditions on how many rows of a session pass the first test, and on a silence of the second. */
function leastOf(
  write: ReturnType<typeof createRowSql>,
  rows: RuleNeed['rows'],
  { count, silenceNs, alike }: NonNullable<RuleNeed['atLeast']>,
): readonly string[] {
  const first = write.rows(rows[0] ?? []);
  const each = `map(cityHash64(${['kind', ...alike].join(', ')}), toUInt32(1))`;
  const most = `arrayMax(mapValues(sumMapIf(${each}, ${first})))`;
  const times = `arraySort(groupArrayIf(${RULE_TIME}, ${write.rows(rows[1] ?? [])}))`;
  return [
    count === 1 ? '' : `${alike.length === 0 ? `countIf(${first})` : most} >= ${count}`,
    silenceNs === 0n ? '' : `arrayMax(arrayDifference(${times})) >= ${silenceNs}`,
  ].filter((one) => one !== '');
}

/** Sessions with a row in the span for which some rule's need is met; `rules` holds which. */
export function huntSessionsPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  span: Span,
  limit: number,
): ScopedSql {
  const write = createRowSql();
  const any = (tests: readonly RowTest[]) =>
    `countIf(${write.rows(tests.flatMap((test) => test.shown ?? [test]))}) > 0`;
  const keysOf = ({ rows, required, keys }: RuleNeed): string =>
    keys === undefined
      ? "CAST([], 'Array(String)')"
      : `CAST(arrayIntersect(${required
          .map((at) => `groupUniqArrayIf(${keySql(keys[at] ?? [])}, ${write.rows(rows[at] ?? [])})`)
          .join(', ')}), 'Array(String)')`;
  const needOf = ({ rows, required, atLeast, keys, novel }: RuleNeed, place: number): string =>
    [
      ...(keys === undefined ? [] : [`notEmpty(keys[${place + 1}])`]),
      ...(required.length > 0
        ? required.map((at) => any(rows[at] ?? []))
        : [any((novel === undefined ? rows : rows.slice(1)).flat())]),
      ...(atLeast === undefined ? [] : leastOf(write, rows, atLeast)),
    ].join(' AND ');
  const met = needs.map(needOf);
  const all = needs
    .flatMap(({ rows }) => rows.flat())
    .flatMap((test) => [test, ...(test.shown ?? [])]);
  const distinct = [...new Map(all.map((test) => [write.row(test), test])).values()];
  return select(tenant, {
    columns: `toString(session_id) AS session, toString(cityHash64(session_id)) AS hash, count() AS rows_count, [${needs.map(keysOf).join(', ')}] AS keys, [${met.map((one) => `(${one})`).join(', ')}] AS rules`,
    from: 'events',
    where: [condition(write.rows(distinct), write.params)],
    groupBy: 'session_id',
    having: [
      condition('has(rules, 1)'),
      condition(`min(${RULE_TIME}) <= {until:Int64} AND max(${RULE_TIME}) >= {since:Int64}`, {
        until: span.to,
        since: span.from,
      }),
    ],
    // As the table has them, so that sessions that are read together lie together.
    orderBy: 'toYYYYMMDD(min(ts)), session_id',
    limit,
  });
}

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

/** The rows of one rule in the sessions that it can say something about. */
function clauseOf(
  write: ReturnType<typeof createRowSql>,
  { rows, lineage, keys, novel }: RuleNeed,
  wanted: readonly string[],
): string {
  const asked = novel === undefined ? rows : rows.slice(1);
  const keyed = keys !== undefined && wanted.length <= KEYS_MAX;
  const tests = keyed
    ? asked.map(
        (some, at) =>
          `(${write.rows(some)}) AND toString(${keySql(keys[at] ?? [])}) IN ${write.bind(wanted, 'String')}`,
      )
    : [write.rows(asked.flat())];
  if (lineage) tests.push(write.rows([{ kinds: PROCESS_KINDS }]));
  return tests.map((one) => `(${one})`).join(' OR ');
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

/**
 * The rows of some sessions that matter to their rules; `ordered`: each session in one piece, as its
 * collectors saw it, and otherwise in no order, which is cheaper.
 */
export function huntRowsPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  sessions: Sessions,
  columns: readonly string[],
  ordered: boolean,
): ScopedSql {
  const write = createRowSql();
  const hashes = write.bind(
    [...sessions.values()].map(({ hash }) => hash),
    'UInt64',
  );
  const masks = masksOf(sessions, Math.ceil(needs.length / MASK_BITS)).map((values) => {
    const bound = write.bind(values, 'UInt64');
    return `transform(cityHash64(session_id), ${hashes}, ${bound}, toUInt64(0))`;
  });
  const clauses = needs.flatMap((need, place) => {
    const met = [...sessions.values()].flatMap(({ byRule }) => byRule.get(place) ?? []);
    if (![...sessions.values()].some(({ byRule }) => byRule.has(place))) return [];
    const concerned = `bitTest(${masks[Math.floor(place / MASK_BITS)]}, ${place % MASK_BITS})`;
    return [`(${concerned} AND (${clauseOf(write, need, met)}))`];
  });
  const within = `session_id IN ${write.bind([...sessions.keys()], 'UUID')}`;
  const where: Condition[] = [
    condition(`${within} AND (${clauses.join(' OR ') || 'false'})`, write.params),
  ];
  return select(tenant, {
    columns: selectEvent(columns),
    from: 'events',
    where,
    ...(ordered ? { orderBy: 'session_id, observed_ts, stream_id, seq' } : {}),
  });
}
