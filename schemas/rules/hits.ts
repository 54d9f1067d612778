/**
 * What is kept of an event that a rule's tests held for: its place in the order of things, what the
 * rule may read of it, and a name for it that is short, because there are very many.
 */
import { keyValue } from './eql/key.ts';
import type { Hit } from './rule.ts';
import { type FieldValue, type FieldView, FoldingView } from './values.ts';

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
  readonly session: string;
  readonly hits: readonly Hit[];
  /** Its name as the rule's states have it, once one asked. */
  ticket?: string | undefined;
}

/** An event that a firing is made of. */
export interface Part {
  readonly id: string;
  readonly session: string;
  readonly timeNs: bigint;
}

/** Hits in their order; the same list where they stand in it already. */
export function inOrder(hits: readonly KeptHit[]): readonly KeptHit[] {
  for (let at = 1; at < hits.length; at++)
    if (comparePositions(hits[at - 1] as KeptHit, hits[at] as KeptHit) > 0)
      return hits.toSorted(comparePositions);
  return hits;
}

/** Only equality is asked of a text: a long one is told by its hash. */
const shortened = (value: FieldValue): FieldValue =>
  Array.isArray(value) ? value.map(keyValue) : keyValue(value);

/** What a rule reads of a hit, copied out of the event so that the event can be let go. */
class KeptView extends FoldingView {
  readonly #fields: readonly string[];
  readonly #values: readonly (FieldValue | undefined)[];

  constructor(view: FieldView, fields: readonly string[]) {
    super();
    this.#fields = fields;
    this.#values = fields.map((name) => {
      const value = view.get(name);
      return value === undefined ? undefined : shortened(value);
    });
  }

  get(name: string): FieldValue | undefined {
    const at = this.#fields.indexOf(name);
    return at < 0 ? undefined : this.#values[at];
  }

  names(): readonly string[] {
    return this.#fields.filter((_, at) => this.#values[at] !== undefined);
  }
}

/** The hits of one event as they are kept. */
export function keepHit(hit: Omit<KeptHit, 'ticket'>, fields: readonly string[]): KeptHit {
  const { session, timeNs, stream, seq } = hit;
  let view: FieldView | undefined;
  let kept: FieldView | undefined;
  const small = hit.hits.map(({ input, fields: seen }): Hit => {
    // Nearly always it is one view that several inputs hold for.
    if (kept === undefined || view !== seen) {
      view = seen;
      kept = new KeptView(view, fields);
    }
    return { input, fields: kept, key: undefined, counted: undefined };
  });
  return { session, timeNs, stream, seq, hits: small, ticket: undefined };
}

/** Streams that are known by number; hits of further ones have longer names. */
const STREAMS_MAX = 64;

interface Source {
  readonly session: string;
  readonly stream: string;
}

/**
 * The streams that hits of one group come from. Each event has texts of its own for the names of
 * its session and stream; here they become one.
 */
export class Streams {
  readonly #known: Source[] = [];

  #placeOf({ session, stream }: Source): number {
    const known = this.#known;
    const place = known.findIndex((one) => one.stream === stream && one.session === session);
    if (place >= 0 || known.length === STREAMS_MAX) return place;
    return known.push({ session, stream }) - 1;
  }

  /** The source with the texts that others of its stream have, too. */
  shared(source: Source): Source {
    return this.#known[this.#placeOf(source)] ?? source;
  }

  /**
   * The name of a hit as a rule's state takes it: opaque to the state, and all that is told of the
   * event later, when its hit is long gone. The same for the same event.
   *
   *     time-hex SP seq [SP place | SP stream SP session]
   */
  ticketOf(hit: KeptHit): string {
    const place = this.#placeOf(hit);
    const parts = [hit.timeNs.toString(16), hit.seq];
    // Joined it is one text; a template would keep its parts, and there are many.
    return place < 0 ? [...parts, hit.stream, hit.session].join(' ') : [...parts, place].join(' ');
  }

  partOf(ticket: string): Part {
    const [time, seq, place = '', name] = ticket.split(' ');
    const { stream, session } =
      name === undefined
        ? (this.#known[Number(place)] as Source)
        : { stream: place, session: name };
    return { id: `${stream}-${seq}`, session, timeNs: BigInt(`0x${time}`) };
  }
}
