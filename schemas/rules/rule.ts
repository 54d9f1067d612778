/**
 * The typed rule: what all languages compile to, and all that an engine knows of a rule. A rule
 * tests one event at a time (`EventMatcher`), or holds state over many (`StreamMatcher`), and then
 * it names the tests that its state is made of, so that an engine can index all tests together.
 */
import type { Warning } from './document.ts';
import type { Place } from './faults.ts';
import type { FieldView, Logsource, RuleEvent } from './values.ts';

export const LEVELS = ['informational', 'low', 'medium', 'high', 'critical'] as const;
export type Level = (typeof LEVELS)[number];

/** What a rule says of itself; kept with every alert, the author and the licence above all. */
export interface RuleMeta extends Place {
  /** Its `id`, or its `name`, or `file:line`, whichever is there first. */
  readonly id: string;
  readonly title: string;
  readonly name?: string;
  readonly description?: string;
  readonly author?: string;
  readonly license?: string;
  readonly status?: string;
  readonly date?: string;
  /** Absent where the rule gives none; it is never guessed. */
  readonly level?: Level;
  readonly tags: readonly string[];
  readonly references: readonly string[];
  readonly falsepositives: readonly string[];
  readonly language: 'sigma' | 'eql' | 'falco';
  readonly logsource: Logsource;
}

/**
 * A literal without which a test can't hold: `field` equals, begins with, ends with or contains
 * `text`, which is in lower case and is compared with the field's value in lower case. A field
 * that is a list has to hold an entry that does.
 */
export interface Anchor {
  /** A field's name; empty: any of the event's fields. */
  readonly field: string;
  readonly how: 'equals' | 'startswith' | 'endswith' | 'contains';
  readonly text: string;
}

export type NumberOperator = '==' | '!=' | '<' | '<=' | '>' | '>=';

/** What an event has to have before a test can hold: more than anchors say, for whoever reads tables. */
export type Need =
  | { readonly one: readonly Anchor[] }
  /** The field is there. */
  | { readonly present: string }
  /** The field is so many characters long. */
  | { readonly long: string; readonly charactersMin: number }
  /** The field is a number that compares so with `value`. */
  | { readonly number: string; readonly operator: NumberOperator; readonly value: number }
  | { readonly all: readonly Need[] }
  | { readonly either: readonly Need[] };

/** A pure test of one event. */
export interface EventMatcher {
  /** What it looks at: `coversSource(logsource, view.source)` decides. */
  readonly logsource: Logsource;
  /** Whether it holds; it never throws, whatever the fields are. */
  readonly matches: (fields: FieldView) => boolean;
  /** Where it is given, one of these holds whenever the test does; an index is built from them. */
  readonly anchors?: readonly Anchor[];
  readonly need?: Need;
  /** Every field that `matches` may read; absent where it may read any. */
  readonly fields?: readonly string[];
  /** Tests of one identity hold for the same events: one of them is enough. */
  readonly identity?: string;
  /** Where it is given, there is less to do once a view's value of that field is known. */
  readonly pivot?: Pivot;
  /** It holds for every event that it looks at. */
  readonly always?: true;
}

/** A field of few values that tells most views apart, such as the kind of an event. */
export interface Pivot {
  readonly field: string;
  /** The test for views where the field is this text; undefined where it holds for none of them. */
  readonly at: (text: string) => EventMatcher | undefined;
}

/** One test of a stream matcher that held for an event, and the view that it held for. */
export interface Hit {
  /** Its place in `inputs`. */
  readonly input: number;
  readonly fields: FieldView;
  /** What the rule's state made of it, its key and what it counts: a hit is fed to two states. */
  key?: string | undefined;
  counted?: object | undefined;
}

/** What came together: one match of a rule. */
export interface Firing {
  /** Of the event that completed it, or of the moment at which an absence was certain. */
  readonly timeNs: bigint;
  /** The values of the group or join fields, in the rule's order. */
  readonly key: readonly string[];
  /** Ids of the events that it is made of, in their order. */
  readonly events: readonly string[];
}

/** How much one rule may remember; what is thrown out is counted. */
export interface StreamLimits {
  readonly groupsMax: number;
  readonly eventsPerGroupMax: number;
  /**
   * Values that a first-seen rule remembers: beyond it those seen longest ago count as never seen.
   * The same live and in a backtest, so that both say the same as long as nothing is let go.
   */
  readonly valuesMax: number;
}
export const STREAM_LIMITS: StreamLimits = {
  groupsMax: 10_000,
  eventsPerGroupMax: 4096,
  valuesMax: 200_000,
};

export interface StreamStats {
  readonly groups: number;
  readonly events: number;
  /** Groups and events that were thrown out for the limits, since the state was opened. */
  readonly evicted: number;
}

/** The running state of one stream matcher: deterministic, moved by event time alone. */
export interface StreamState {
  /** Takes the next event in order, with its hits in ascending order of `input`. */
  feed(event: RuleEvent, hits: readonly Hit[]): readonly Firing[];
  /** No event before `timeNs` will come any more; what waited for an absence fires. */
  advance(timeNs: bigint): readonly Firing[];
  /** Plain data: `open(save())`, after a trip through JSON, goes on as if nothing had been. */
  save(): unknown;
  stats(): StreamStats;
  /** Entries that it holds, such as windows, partial matches and their events; cheap to ask. */
  readonly size: number;
}

export interface StreamMatcher {
  readonly inputs: readonly EventMatcher[];
  /** How far back an event can matter, spans of chained rules added up; absent if there is no end. */
  readonly windowNs?: bigint;
  /** Every field that `feed` may read of a hit: keys, values, aliases. It reads nothing else. */
  readonly fields: readonly string[];
  /** For each input the fields of the rule's key, in the rule's order; empty where there is none. */
  readonly groupBy: readonly (readonly string[])[];
  /** Inputs of which each must be hit before anything can fire; absent: any one may do. */
  readonly required?: readonly number[];
  /**
   * Of one group: so many hits of the first input, and so long a time without one of the second
   * between two of these.
   */
  readonly atLeast?: { readonly count: number; readonly silenceNs: bigint };
  /**
   * A hit of the first input fires only where no hit with the same fields lies less than this
   * before it, and matters to later ones only by having been there.
   */
  readonly newAfterNs?: bigint;
  /**
   * The input that opens a match: a hit of a later input matters only behind a hit of this one or
   * of one before it. Absent where inputs may come in any order.
   */
  readonly opens?: number;
  /** Opens a fresh state, or the one that `save` gave. */
  open(limits?: StreamLimits, saved?: unknown): StreamState;
}

export type Matcher =
  | { readonly type: 'event'; readonly test: EventMatcher }
  | { readonly type: 'stream'; readonly stream: StreamMatcher };

export interface Rule {
  readonly meta: RuleMeta;
  readonly matcher: Matcher;
  /** False for a rule that is there for a correlation to refer to: it fires into that alone. */
  readonly alerts: boolean;
  readonly warnings: readonly Warning[];
}
