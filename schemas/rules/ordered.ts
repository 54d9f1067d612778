/**
 * One stream rule over one group of events (a session, or a tenant), whatever order they come in.
 *
 * The rule's state takes events in the order of their time. What comes in that order goes straight
 * in. Behind it a second state, the *base*, follows at a short distance, and the hits between the
 * two are kept. What comes late is put in its place among these, and the state is made anew from
 * the base; firings that are new are raised, and firings that do not hold in the true order are
 * withdrawn. What comes too late even for the base makes the state *stale*: it goes on, and its
 * owner begins it anew from all that is stored. So the firings that stand are those of a run over
 * all events in order, which is what a backtest does, however long the rule's window is.
 */
import { keyValue } from './eql/key.ts';
import type { Firing, Hit, StreamLimits, StreamMatcher, StreamState } from './rule.ts';
import { createView, type FieldValue, type FieldView, type RuleEvent } from './values.ts';

/** The order of events everywhere: time, then stream, then number. */
export interface Position {
  readonly timeNs: bigint;
  readonly stream: string;
  readonly seq: number;
}

export function comparePositions(a: Position, b: Position): number {
  if (a.timeNs !== b.timeNs) return a.timeNs < b.timeNs ? -1 : 1;
  if (a.stream !== b.stream) return a.stream < b.stream ? -1 : 1;
  return a.seq - b.seq;
}

/** An event that a rule's tests held for, with what the rule may read of it and no more. */
export interface KeptHit extends Position {
  readonly id: string;
  readonly session: string;
  readonly hits: readonly Hit[];
}

/** An event that a firing is made of. */
export type Part = Pick<KeptHit, 'timeNs' | 'session' | 'id'>;

/** A firing that stands. */
export interface Standing {
  readonly timeNs: bigint;
  readonly key: readonly string[];
  readonly parts: readonly Part[];
  /** The name under which it is told from others: key and first event. */
  readonly name: string;
}

export interface Changes {
  readonly raised: readonly Standing[];
  readonly withdrawn: readonly Standing[];
  /** A hit came too late to be put in its place: it was left out. */
  readonly stale: boolean;
}

/** Only equality is asked of a text: a long one is told by its hash. */
const shortened = (value: FieldValue): FieldValue =>
  Array.isArray(value) ? value.map(keyValue) : keyValue(value);

/** What a rule reads of a hit, copied out of the event so that the event can be let go. */
function project(view: FieldView, fields: readonly string[]): FieldView {
  const kept = new Map<string, FieldValue>();
  for (const name of fields) {
    const value = view.get(name);
    if (value !== undefined) kept.set(name, shortened(value));
  }
  return createView({ get: (name) => kept.get(name), names: () => [...kept.keys()] });
}

/** The hits of one event as they are kept. */
export function keepHit(
  event: Omit<KeptHit, 'hits'>,
  hits: readonly Hit[],
  fields: readonly string[],
): KeptHit {
  const views = new Map<FieldView, FieldView>();
  const small = hits.map(({ input, fields: view }): Hit => {
    const known = views.get(view) ?? project(view, fields);
    views.set(view, known);
    return { input, fields: known };
  });
  return { ...event, hits: small };
}

export interface Ordered {
  /** Takes the hits of a batch, in any order. */
  add(hits: readonly KeptHit[]): Changes;
  /** No hit before `timeNs` will be added any more. */
  advance(timeNs: bigint): Changes;
  /** Gives the base all that is kept: no memory is held for what may come late. */
  settle(): void;
  /** Hits that are kept. */
  readonly size: number;
  /** The place of the newest hit; undefined before the first. */
  readonly newest: Position | undefined;
  /** Nothing is kept and the state waits for nothing: it is as good as new for what comes later. */
  readonly idle: boolean;
  /** What the rule's state let go for its limits. */
  readonly evicted: number;
}

const NOTHING: Changes = { raised: [], withdrawn: [], stale: false };
const NO_VIEWS: RuleEvent['views'] = [];

/** How many hits one rule keeps of one group. */
export const KEPT_HITS_MAX = 64;

/**
 * An event's name as the rule's state takes it: opaque to the state, and all that is told of the
 * event later, when its hit is long gone.
 */
const ticket = ({ timeNs, session, id }: Part): string => `${timeNs} ${session} ${id}`;

function partOf(name: string): Part {
  const [timeNs = '0', session = '', id = ''] = name.split(' ');
  return { timeNs: BigInt(timeNs), session, id };
}

const standingOf = ({ timeNs, key, events }: Firing): Standing => ({
  timeNs,
  key,
  parts: events.map(partOf),
  name: JSON.stringify([key, events[0]]),
});

/**
 * A rule over a group. Hits that come at most `keepNs` later than their neighbours are put in their
 * place, as long as no more than `keptMax` are kept.
 */
export function createOrdered(
  matcher: StreamMatcher,
  keepNs: bigint,
  limits: StreamLimits,
  keptMax: number = KEPT_HITS_MAX,
): Ordered {
  /** Hits that the state has and the base has not, in order. */
  const kept: KeptHit[] = [];
  const base = matcher.open(limits);
  /** The last hit that the base was given. */
  let based: Position | undefined;
  let state = matcher.open(limits);
  let standing = new Map<string, Standing>();
  let advancedNs: bigint | undefined;
  function feed(to: StreamState, hit: KeptHit): readonly Firing[] {
    return to.feed({ id: ticket(hit), timeNs: hit.timeNs, views: NO_VIEWS }, hit.hits);
  }

  /** Notes firings as standing; those of them that did not stand before. */
  function raise(firings: readonly Firing[]): Standing[] {
    return firings.map(standingOf).filter((one) => {
      if (standing.has(one.name)) return false;
      standing.set(one.name, one);
      return true;
    });
  }

  /** Runs all that is kept through the base’s state, and says what is other than before. */
  function rebuild(sinceNs: bigint): Omit<Changes, 'stale'> {
    const before = standing;
    state = matcher.open(limits, base.save());
    standing = new Map();
    const firings = kept.flatMap((hit) => [...feed(state, hit)]);
    if (advancedNs !== undefined) firings.push(...state.advance(advancedNs));
    // What fired before the late event is not touched by it, and the base may be past it by now.
    for (const [name, one] of before) if (one.timeNs < sinceNs) standing.set(name, one);
    const now = raise(firings.filter(({ timeNs }) => timeNs >= sinceNs));
    const raised = now.filter(({ name }) => !before.has(name));
    const withdrawn = [...before.values()].filter(({ name }) => !standing.has(name));
    return { raised, withdrawn };
  }

  function insert(hit: KeptHit): void {
    let [low, high] = [0, kept.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (comparePositions(kept[middle] as KeptHit, hit) < 0) low = middle + 1;
      else high = middle;
    }
    kept.splice(low, 0, hit);
  }

  /** Gives the base the first `count` hits that are kept. */
  function giveBase(count: number): void {
    if (count === 0) return;
    const given = kept.splice(0, count);
    for (const hit of given) feed(base, hit);
    const last = given.at(-1) as KeptHit;
    based = { timeNs: last.timeNs, stream: last.stream, seq: last.seq };
    for (const [name, { timeNs }] of standing) if (timeNs < last.timeNs) standing.delete(name);
  }

  function trim(): void {
    const newest = kept.at(-1);
    if (newest === undefined) return;
    const since = newest.timeNs - keepNs;
    let count = Math.max(kept.length - keptMax, 0);
    while (count < kept.length && (kept[count] as KeptHit).timeNs < since) count++;
    giveBase(count);
  }

  function add(hits: readonly KeptHit[]): Changes {
    const inTime = hits.filter((hit) => based === undefined || comparePositions(hit, based) > 0);
    const stale = inTime.length < hits.length;
    const sorted = inTime.sort(comparePositions);
    const first = sorted[0];
    if (first === undefined) return { ...NOTHING, stale };
    const last = kept.at(-1) ?? based;
    const late =
      (last !== undefined && comparePositions(first, last) < 0) ||
      (advancedNs !== undefined && first.timeNs < advancedNs);
    let changes: Omit<Changes, 'stale'>;
    if (late) {
      for (const hit of sorted) insert(hit);
      changes = rebuild(first.timeNs);
    } else {
      kept.push(...sorted);
      changes = { raised: sorted.flatMap((hit) => raise(feed(state, hit))), withdrawn: [] };
    }
    trim();
    return { ...changes, stale };
  }

  return {
    add,
    advance(timeNs) {
      if (advancedNs !== undefined && timeNs <= advancedNs) return NOTHING;
      advancedNs = timeNs;
      return { ...NOTHING, raised: raise(state.advance(timeNs)) };
    },
    settle: () => giveBase(kept.length),
    get size() {
      return kept.length;
    },
    get newest() {
      return kept.at(-1) ?? based;
    },
    get idle() {
      const { groups, events } = state.stats();
      return kept.length === 0 && groups === 0 && events === 0;
    },
    get evicted() {
      return state.stats().evicted;
    },
  };
}
