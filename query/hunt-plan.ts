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

/** A rule's place among the needs, by session. */
export type Sessions = ReadonlyMap<string, readonly number[]>;

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
  const needOf = ({ rows, required, atLeast }: RuleNeed): string =>
    [
      ...(required.length > 0 ? required.map((at) => any(rows[at] ?? [])) : [any(rows.flat())]),
      ...(atLeast === undefined ? [] : leastOf(write, rows, atLeast)),
    ].join(' AND ');
  const met = needs.map(needOf);
  const all = needs
    .flatMap(({ rows }) => rows.flat())
    .flatMap((test) => [test, ...(test.shown ?? [])]);
  const distinct = [...new Map(all.map((test) => [write.row(test), test])).values()];
  return select(tenant, {
    columns: `toString(session_id) AS session, [${met.map((one) => `(${one})`).join(', ')}] AS rules`,
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

/** Which sessions a test's rows are wanted of. */
function wantedRows(needs: readonly RuleNeed[], sessions: Sessions): Map<string, Set<string>> {
  const byRule = needs.map(() => new Set<string>());
  for (const [session, places] of sessions) for (const place of places) byRule[place]?.add(session);
  const wanted = new Map<string, Set<string>>();
  needs.forEach(({ rows, lineage }, place) => {
    const tests = rows.flat();
    if (lineage) tests.push({ kinds: PROCESS_KINDS });
    for (const test of tests) {
      const key = JSON.stringify(test);
      const set = wanted.get(key) ?? new Set();
      wanted.set(key, set);
      for (const session of byRule[place] as Set<string>) set.add(session);
    }
  });
  return wanted;
}

/** The rows of some sessions that matter to their rules, each session as its collectors saw it. */
export function huntRowsPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  sessions: Sessions,
  columns: readonly string[],
): ScopedSql {
  const write = createRowSql();
  const bySessions = new Map<string, RowTest[]>();
  for (const [test, wanted] of wantedRows(needs, sessions)) {
    if (wanted.size === 0) continue;
    const key = JSON.stringify([...wanted].sort());
    const list = bySessions.get(key) ?? [];
    bySessions.set(key, list);
    list.push(JSON.parse(test) as RowTest);
  }
  const clauses = [...bySessions].map(
    ([key, tests]) =>
      `(session_id IN ${write.bind(JSON.parse(key) as string[], 'UUID')} AND (${write.rows(tests)}))`,
  );
  const where: Condition[] = [condition(clauses.join(' OR ') || 'false', write.params)];
  return select(tenant, {
    columns: selectEvent(columns),
    from: 'events',
    where,
    orderBy: 'session_id, observed_ts, stream_id, seq',
  });
}
