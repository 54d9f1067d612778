/**
 * A slow matcher of sequences, written from the rules and not from the state machine: which events
 * reach which step is worked out backwards, event by event, by looking at all events before.
 */

/** An event as the reference sees it: what it matches, with which key, and when. */
export interface Seen {
  readonly id: string;
  readonly timeNs: bigint;
  /** For each step the key with which the event matches it; undefined where it does not. */
  readonly keys: readonly (string | undefined)[];
  readonly until: string | undefined;
}

export interface Wanted {
  /** For each step, runs written out, whether it is a missing event. */
  readonly missing: readonly boolean[];
  readonly spanNs: bigint | undefined;
}

interface Reached {
  /** Places of the events that fill the steps, in their order. */
  readonly chain: readonly number[];
}

/** All matches: for each the ids of its events. */
export function findAll({ missing, spanNs }: Wanted, events: readonly Seen[]): string[][] {
  const steps = missing.flatMap((absent, step) => (absent ? [] : [step]));
  const known = new Map<string, Reached | undefined>();
  const keyAt = (place: number, step: number) => events[place]?.keys[step];
  const between = (from: number, to: number) => events.slice(from + 1, to);

  /** The chain of events that ends at `place` and fills the first `count` steps with `key`. */
  function reach(place: number, count: number, key: string): Reached | undefined {
    const name = `${place}/${count}/${key}`;
    if (!known.has(name)) known.set(name, workOut(place, count, key));
    return known.get(name);
  }

  function workOut(place: number, count: number, key: string): Reached | undefined {
    const step = steps[count - 1] as number;
    if (keyAt(place, step) !== key) return undefined;
    if (count === 1) return { chain: [place] };
    // The latest one that reached the step before hides all earlier ones.
    for (let before = place - 1; before >= 0; before -= 1) {
      const found = reach(before, count - 1, key);
      if (found === undefined) continue;
      const taken = between(before, place).some((one) => one.keys[step] === key);
      const absent = missing.flatMap((gone, at) =>
        gone && at > (steps[count - 2] as number) && at < step ? [at] : [],
      );
      const refuted = between(before, place).some((one) =>
        absent.some((at) => one.keys[at] === key),
      );
      const ended = events.slice(before + 1, place + 1).some((one) => one.until === key);
      const first = events[found.chain[0] as number]?.timeNs as bigint;
      const late = spanNs !== undefined && (events[place]?.timeNs as bigint) - first > spanNs;
      return taken || refuted || ended || late ? undefined : { chain: [...found.chain, place] };
    }
    return undefined;
  }

  /** Whether a window of the span holds the whole chain and none of the events wanted away. */
  function isFree({ chain }: Reached, key: string): boolean {
    const first = chain[0] as number;
    const last = chain[chain.length - 1] as number;
    const leading = missing.flatMap((gone, at) => (gone && at < (steps[0] as number) ? [at] : []));
    const trailing = missing.flatMap((gone, at) =>
      gone && at > (steps[steps.length - 1] as number) ? [at] : [],
    );
    const hits = (one: Seen, at: readonly number[]) => at.some((step) => one.keys[step] === key);
    const before = events.slice(0, first).findLast((one) => hits(one, leading))?.timeNs;
    const after = events.slice(last + 1).find((one) => hits(one, trailing))?.timeNs;
    const span = spanNs ?? 0n;
    const from = leading.length > 0 ? before : (events[first]?.timeNs as bigint);
    const to = trailing.length > 0 ? after : (events[last]?.timeNs as bigint);
    if (leading.length === 0 && trailing.length === 0) return true;
    return from === undefined || to === undefined || to - from > span;
  }

  return events.flatMap((_event, place) => {
    const key = keyAt(place, steps[steps.length - 1] as number);
    const found = key === undefined ? undefined : reach(place, steps.length, key);
    if (found === undefined || key === undefined || !isFree(found, key)) return [];
    return [found.chain.map((at) => events[at]?.id ?? '')];
  });
}
