/**
 * Which tests an event can pass at all, by their anchors: of hundreds of rules an event touches a
 * few. The event's own text is walked down a tree of literals, from its front and from its end, as
 * far as one goes on; contained literals are found in one pass. A test without anchors is always a
 * candidate.
 */
import {
  createBackward,
  createForward,
  createLiterals,
  type Ending,
  type Literals,
} from './literals.ts';
import type { Anchor, EventMatcher } from './rule.ts';
import type { FieldView } from './values.ts';

interface FieldIndex {
  readonly field: string;
  /** Literals that the text is or begins with, ends with, and holds. */
  readonly forward: Literals | undefined;
  readonly backward: Literals | undefined;
  readonly contains: Literals | undefined;
}

function indexField(field: string, anchors: readonly (readonly [Anchor, number])[]): FieldIndex {
  const forward: Ending[] = [];
  const backward: Ending[] = [];
  const contained: [string, number][] = [];
  for (const [{ how, text }, id] of anchors) {
    if (how === 'contains') contained.push([text, id]);
    else if (how === 'endswith') backward.push({ text, id, whole: false });
    else forward.push({ text, id, whole: how === 'equals' });
  }
  return {
    field,
    forward: forward.length === 0 ? undefined : createForward(forward),
    backward: backward.length === 0 ? undefined : createBackward(backward),
    contains: contained.length === 0 ? undefined : createLiterals(contained),
  };
}

type Take = (ids: readonly number[]) => void;

function lookUp(index: FieldIndex, texts: readonly string[], take: Take): void {
  const { forward, backward, contains } = index;
  for (const text of texts) {
    forward?.(text, take);
    backward?.(text, take);
    contains?.(text, take);
  }
}

/** Gives the ids of the candidates for an event's fields, each once, in no order. */
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
  if (fields.length === 0) return () => always;
  // A test that was met for this event has the event's number here.
  const met = new Uint32Array(Math.max(0, ...ids) + 1);
  let round = 0;
  let found: number[] | undefined;
  const take: Take = (list) => {
    for (const id of list) {
      if (met[id] === round) continue;
      met[id] = round;
      found ??= [...always];
      found.push(id);
    }
  };
  return (view) => {
    if (++round > 0xffff_fffe) {
      met.fill(0);
      round = 1;
    }
    found = undefined;
    for (const index of fields) {
      if (index.field !== '') lookUp(index, view.folded(index.field), take);
      else for (const name of view.names()) lookUp(index, view.folded(name), take);
    }
    return found ?? always;
  };
}
