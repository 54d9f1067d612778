/**
 * Which tests an event can pass at all, by their anchors: of hundreds of rules an event touches a
 * few. Equal, leading and trailing literals are looked up by the event's own text (one look-up for
 * each length that occurs), contained ones are found in one pass. A test without anchors is always
 * a candidate.
 */
import { createLiterals, type Literals } from './literals.ts';
import type { Anchor, EventMatcher } from './rule.ts';
import type { FieldView } from './values.ts';

/** Literals of one length or of any, by their text. */
type Lookup = Map<string, number[]>;

interface FieldIndex {
  readonly field: string;
  readonly equals: Lookup;
  readonly startswith: Map<number, Lookup>;
  readonly endswith: Map<number, Lookup>;
  readonly contains: Literals | undefined;
}

function add(lookup: Lookup, text: string, id: number): void {
  const ids = lookup.get(text);
  if (ids === undefined) lookup.set(text, [id]);
  else ids.push(id);
}

function byLength(index: Map<number, Lookup>, text: string, id: number): void {
  const lookup = index.get(text.length) ?? new Map();
  index.set(text.length, lookup);
  add(lookup, text, id);
}

function indexField(field: string, anchors: readonly (readonly [Anchor, number])[]): FieldIndex {
  const equals: Lookup = new Map();
  const startswith = new Map<number, Lookup>();
  const endswith = new Map<number, Lookup>();
  const contained: [string, number][] = [];
  for (const [{ how, text }, id] of anchors) {
    if (how === 'equals') add(equals, text, id);
    else if (how === 'contains') contained.push([text, id]);
    else byLength(how === 'startswith' ? startswith : endswith, text, id);
  }
  const contains = contained.length === 0 ? undefined : createLiterals(contained);
  return { field, equals, startswith, endswith, contains };
}

type Take = (ids: readonly number[] | undefined) => void;

function lookUp(index: FieldIndex, texts: readonly string[], take: Take): void {
  const { equals, startswith, endswith, contains } = index;
  for (const text of texts) {
    take(equals.get(text));
    for (const [length, lookup] of startswith)
      if (length <= text.length) take(lookup.get(text.slice(0, length)));
    for (const [length, lookup] of endswith)
      if (length <= text.length) take(lookup.get(text.slice(text.length - length)));
    contains?.(text, take);
  }
}

/** Gives the ids of the candidates for an event's fields, each once, in ascending order. */
export type Candidates = (fields: FieldView) => readonly number[];

/** Indexes tests; the id of a test is what `ids` has in its place. */
export function createCandidates(
  tests: readonly EventMatcher[],
  ids: readonly number[],
): Candidates {
  const always: number[] = [];
  const byField = new Map<string, [Anchor, number][]>();
  tests.forEach(({ anchors }, place) => {
    const id = ids[place] as number;
    if (anchors === undefined) always.push(id);
    else
      for (const anchor of anchors) {
        const list = byField.get(anchor.field) ?? [];
        byField.set(anchor.field, list);
        list.push([anchor, id]);
      }
  });
  const fields = [...byField].map(([field, anchors]) => indexField(field, anchors));
  // A test that was met for this event has the event's number here.
  const met = new Uint32Array(Math.max(0, ...ids) + 1);
  let round = 0;
  let found: number[] = [];
  const take: Take = (list) => {
    if (list === undefined) return;
    for (const id of list) {
      if (met[id] === round) continue;
      met[id] = round;
      found.push(id);
    }
  };
  return (view) => {
    if (++round > 0xffff_fffe) {
      met.fill(0);
      round = 1;
    }
    found = [...always];
    for (const index of fields) {
      if (index.field !== '') lookUp(index, view.folded(index.field), take);
      else for (const name of view.names()) lookUp(index, view.folded(name), take);
    }
    return found.length > 1 ? found.sort((a, b) => a - b) : found;
  };
}
