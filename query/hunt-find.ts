/**
 * The first statement of a backtest: the sessions of which a rule could say anything. Pure.
 *
 * A row is asked the conditions that rows of its kind can pass and no others; one that passes any is
 * a few numbers, a bit for each condition. What a session needs is asked of these numbers. Kinds of
 * many conditions are read by themselves, since conditions that wait for others cost the engine a
 * copy of the rows; all others together, since each reading has to unpack the times again.
 */
import { createRowSql, type RowSql, type RowTest, type RuleNeed } from '#schemas';
import { keySql, RULE_TIME, type Span } from './hunt-plan.ts';
import { condition, type ScopedSql, select, unionAll } from './sql.ts';

/** Conditions that one number tells of, a bit each. */
const WORD_BITS = 64;
/** A kind of more conditions than this is read by itself. */
const TOGETHER_MAX = 12;
const DAY_NS = 86_400_000_000_000n;

/** A number that is made of rows that pass tests: those with it alike belong together. */
interface Digest {
  readonly name: string;
  readonly tests: RowTest[];
}

/** The tests of all needs by their places, and what is made of the rows that pass them. */
class Signals {
  readonly #write: RowSql;
  readonly #places = new Map<string, number>();
  readonly tests: (readonly RowTest[])[] = [];
  readonly #digests = new Map<string, Digest>();

  constructor(write: RowSql, needs: readonly RuleNeed[]) {
    this.#write = write;
    for (const { rows } of needs)
      for (const tests of rows) {
        this.placeOf(tests);
        this.placeOf(shownOf(tests));
      }
  }

  placeOf(tests: readonly RowTest[]): number {
    const key = this.#write.rows(tests);
    const place = this.#places.get(key) ?? this.tests.length;
    if (place === this.tests.length) {
      this.#places.set(key, place);
      this.tests.push(tests);
    }
    return place;
  }

  /** Whether a row passes some tests. */
  row(tests: readonly RowTest[]): string {
    return this.#bit('m', tests);
  }

  /** Whether a row of the session passes some tests. */
  any(tests: readonly RowTest[]): string {
    return this.#bit('any', tests);
  }

  #bit(words: string, tests: readonly RowTest[]): string {
    const place = this.placeOf(tests);
    return `bitTest(${words}${Math.floor(place / WORD_BITS)}, ${place % WORD_BITS})`;
  }

  /** The name of a number that is made of rows that pass these tests. */
  digest(text: string, tests: readonly RowTest[]): string {
    const digest = this.#digests.get(text) ?? { name: `digest${this.#digests.size}`, tests: [] };
    this.#digests.set(text, digest);
    digest.tests.push(...tests);
    return digest.name;
  }

  /** The numbers that are made of rows of some kinds; nothing where they pass no test. */
  digestsOf(some: readonly string[]): readonly string[] {
    return [...this.#digests].map(([text, { name, tests }]) => {
      const made = tests.some(({ kinds }) => kinds.some((kind) => some.includes(kind)));
      return `${made ? text : 'toUInt64(0)'} AS ${name}`;
    });
  }

  get words(): readonly number[] {
    return [...Array(Math.ceil(this.tests.length / WORD_BITS)).keys()];
  }

  /** The kinds that are read together. */
  get groups(): readonly (readonly string[])[] {
    const kinds = [...new Set(this.tests.flat().flatMap((test) => test.kinds))].sort();
    const heavy = kinds.filter((kind) => {
      const texts = new Set(this.tests.map((tests) => this.#write.rowsOfKind(kind, tests)));
      return texts.size > TOGETHER_MAX;
    });
    const light = kinds.filter((kind) => !heavy.includes(kind));
    return [...heavy.map((kind) => [kind]), light].filter((group) => group.length > 0);
  }

  /** The bits of one word for a row of one of some kinds, as a number. */
  word(kinds: readonly string[], word: number): string {
    const [kind = '', ...others] = kinds;
    if (others.length === 0) return this.#wordOf(kind, word);
    const each = kinds.map((one) => `kind = ${this.#write.one(one)}, ${this.#wordOf(one, word)}`);
    return `multiIf(${each.join(', ')}, toUInt64(0))`;
  }

  #wordOf(kind: string, word: number): string {
    const bits = new Map<string, bigint>();
    for (const [place, tests] of this.tests.entries()) {
      if (Math.floor(place / WORD_BITS) !== word) continue;
      const text = this.#write.rowsOfKind(kind, tests);
      bits.set(text, (bits.get(text) ?? 0n) | (1n << BigInt(place % WORD_BITS)));
    }
    bits.delete('false');
    const always = bits.get('true') ?? 0n;
    bits.delete('true');
    const parts = [...bits].map(([text, mask]) => `toUInt64(${text}) * ${mask}`);
    return [`toUInt64(${always})`, ...parts].reduce((sum, one) => `bitOr(${sum}, ${one})`);
  }
}

/** Tests of rows of which a session has one wherever it has a row that passes these. */
const shownOf = (tests: readonly RowTest[]): readonly RowTest[] =>
  tests.flatMap((test) => test.shown ?? [test]);

/** Conditions on how many rows of a session pass the first test, and on a silence of the second. */
function leastOf(
  signals: Signals,
  rows: RuleNeed['rows'],
  { count, silenceNs, alike }: NonNullable<RuleNeed['atLeast']>,
): readonly string[] {
  const first = signals.row(rows[0] ?? []);
  const many = () => {
    if (alike.length === 0) return `countIf(${first})`;
    const text = `cityHash64(${['kind', ...alike].join(', ')})`;
    const digest = signals.digest(text, rows[0] ?? []);
    return `arrayMax(arrayEnumerateUniq(groupArrayIf(${digest}, ${first})))`;
  };
  const times = () => `arraySort(groupArrayIf(time, ${signals.row(rows[1] ?? [])}))`;
  return [
    count === 1 ? '' : `${many()} >= ${count}`,
    silenceNs === 0n ? '' : `arrayMax(arrayDifference(${times()})) >= ${silenceNs}`,
  ].filter((one) => one !== '');
}

/** What a session shows where a rule could say something of it. */
function needSql(signals: Signals, need: RuleNeed, place: number): string {
  const { rows, required, atLeast, keys, novel } = need;
  const any = (tests: readonly RowTest[]) => signals.any(shownOf(tests));
  // What can be new is looked for in another way.
  const some = novel === undefined ? rows : rows.slice(1);
  const each = required.length > 0 ? required.map((at) => any(rows[at] ?? [])) : [];
  const either = some.map(any).join(' OR ') || 'false';
  return [
    ...(keys === undefined ? [] : [`notEmpty(keys[${place + 1}])`]),
    ...(each.length > 0 ? each : [`(${either})`]),
    ...(atLeast === undefined ? [] : leastOf(signals, rows, atLeast)),
  ].join(' AND ');
}

/** Steps that any row of some kind may be say little of keys, and have very many. */
const tellsKeys = (tests: readonly RowTest[]): boolean =>
  tests.every(({ need }) => need !== undefined);

/** The keys within a session that the steps of a rule have, all those that tell. */
function keysSql(signals: Signals, { rows, required, keys }: RuleNeed): string {
  if (keys === undefined) return "CAST([], 'Array(String)')";
  const telling = required.filter((at) => tellsKeys(rows[at] ?? []));
  const each = (telling.length === 0 ? required : telling).map((at) => {
    const digest = signals.digest(keySql(keys[at] ?? []), rows[at] ?? []);
    return `groupUniqArrayIf(${digest}, ${signals.row(rows[at] ?? [])})`;
  });
  const all = each.length === 1 ? each[0] : `arrayIntersect(${each.join(', ')})`;
  return `CAST(${all}, 'Array(String)')`;
}

/** Rows of some kinds as numbers. */
function rowsOf(
  tenant: string,
  write: RowSql,
  signals: Signals,
  kinds: readonly string[],
): ScopedSql {
  const marks = signals.words.map((word) => [`m${word}`, condition(signals.word(kinds, word))]);
  const ofKinds = `kind IN ${write.bind(kinds, 'String')}`;
  return select(tenant, {
    columns: ['session_id', `${RULE_TIME} AS time`, ...signals.digestsOf(kinds)].join(', '),
    marks: Object.fromEntries(marks),
    from: 'events',
    where: [condition(ofKinds, write.params)],
  });
}

/**
 * Sessions with a row in the span for which some rule's need is met: their name, its hash, how many
 * rows of theirs matter to any rule at all, `rules` with 1 for each need that is met, and its keys.
 */
export function huntSessionsPlan(
  tenant: string,
  needs: readonly RuleNeed[],
  { from, to }: Span,
  limit: number,
): ScopedSql {
  const write = createRowSql();
  const signals = new Signals(write, needs);
  const keys = needs.map((need) => keysSql(signals, need));
  const met = needs.map((need, place) => `(${needSql(signals, need, place)})`);
  const words = signals.words.map((word) => `groupBitOr(m${word}) AS any${word}`);
  return select(tenant, {
    columns: `toString(session_id) AS session, toString(cityHash64(session_id)) AS hash, count() AS rows_count, ${words.join(', ')}, [${keys.join(', ')}] AS keys, [${met.join(', ')}] AS rules`,
    from: unionAll(signals.groups.map((kinds) => rowsOf(tenant, write, signals, kinds))),
    where: [condition(signals.words.map((word) => `m${word} != 0`).join(' OR '))],
    groupBy: 'session_id',
    having: [
      condition('has(rules, 1)'),
      condition('min(time) <= {until:Int64} AND max(time) >= {since:Int64}', {
        until: to,
        since: from,
      }),
    ],
    // As the table has them, so that sessions that are read together lie together.
    orderBy: `intDiv(min(time), ${DAY_NS}), session_id`,
    limit,
  });
}
