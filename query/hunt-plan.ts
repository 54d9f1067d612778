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

/**
 * The rules that can say something about a session, by their places among the needs; for those with
 * a key within the session the keys that all their steps have.
 */
export type Sessions = ReadonlyMap<string, ReadonlyMap<number, readonly string[]>>;

/** More keys than this of one rule are not asked for one by one. */
const KEYS_MAX = 20_000;

/** A key within a session as one number; equal keys have the same. */
const keySql = (columns: readonly string[]): string =>
  `cityHash64(session_id, ${columns.map((one) => `ifNull(toString(${one}), '')`).join(', ')})`;

/** When a rule takes an event for having happened: as `ruleTimeNs` has it. */
const RULE_TIME = 'toUnixTimestamp64Nano(least(ts, observed_ts))';

/** Conditions on how many rows of a session pass the first test, and on how far apart they lie. */
function leastOf(
  write: ReturnType<typeof createRowSql>,
  rows: RuleNeed['rows'],
  { count, spreadNs, alike }: NonNullable<RuleNeed['atLeast']>,
): readonly string[] {
  const first = write.rows(rows[0] ?? []);
  const each = `map(cityHash64(${['kind', ...alike].join(', ')}), toUInt32(1))`;
  const most = `arrayMax(mapValues(sumMapIf(${each}, ${first})))`;
  const any = write.rows(rows.flat());
  const spread = `maxIf(${RULE_TIME}, ${any}) - minIf(${RULE_TIME}, ${any})`;
  return [
    count === 1 ? '' : `${alike.length === 0 ? `countIf(${first})` : most} >= ${count}`,
    spreadNs === 0n ? '' : `${spread} >= ${spreadNs}`,
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
  const needOf = ({ rows, required, atLeast, keys }: RuleNeed, place: number): string =>
    [
      ...(keys === undefined ? [] : [`notEmpty(keys[${place + 1}])`]),
      ...(required.length > 0 ? required.map((at) => any(rows[at] ?? [])) : [any(rows.flat())]),
      ...(atLeast === undefined ? [] : leastOf(write, rows, atLeast)),
    ].join(' AND ');
  const met = needs.map(needOf);
  const all = needs
    .flatMap(({ rows }) => rows.flat())
    .flatMap((test) => [test, ...(test.shown ?? [])]);
  const distinct = [...new Map(all.map((test) => [write.row(test), test])).values()];
  return select(tenant, {
    columns: `toString(session_id) AS session, [${needs.map(keysOf).join(', ')}] AS keys, [${met.map((one) => `(${one})`).join(', ')}] AS rules`,
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
    limit,
  });
}

/** The rows of one rule in the sessions that it can say something about. */
function clauseOf(
  write: ReturnType<typeof createRowSql>,
  { rows, lineage, keys }: RuleNeed,
  sessions: readonly string[],
  wanted: readonly string[],
): string {
  const within = `session_id IN ${write.bind(sessions, 'UUID')}`;
  const keyed = keys !== undefined && wanted.length <= KEYS_MAX;
  const tests = keyed
    ? rows.map(
        (some, at) =>
          `(${write.rows(some)}) AND toString(${keySql(keys[at] ?? [])}) IN ${write.bind(wanted, 'String')}`,
      )
    : [write.rows(rows.flat())];
  if (lineage) tests.push(write.rows([{ kinds: PROCESS_KINDS }]));
  return `${within} AND (${tests.map((one) => `(${one})`).join(' OR ')})`;
}

/** The rows of some sessions that matter to their rules, each session as its collectors saw it. */
export function huntRowsPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  sessions: Sessions,
  columns: readonly string[],
): ScopedSql {
  const write = createRowSql();
  const clauses = needs.flatMap((need, place) => {
    const met = [...sessions].flatMap(([session, byRule]) => {
      const keys = byRule.get(place);
      return keys === undefined ? [] : [{ session, keys }];
    });
    if (met.length === 0) return [];
    const names = met.map(({ session }) => session);
    const keys = met.flatMap((one) => one.keys);
    return [`(${clauseOf(write, need, names, keys)})`];
  });
  const where: Condition[] = [condition(clauses.join(' OR ') || 'false', write.params)];
  return select(tenant, {
    columns: selectEvent(columns),
    from: 'events',
    where,
    orderBy: 'session_id, observed_ts, stream_id, seq',
  });
}
