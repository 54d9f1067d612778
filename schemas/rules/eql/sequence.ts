/**
 * The state machine of a sequence. For each join key and step at most one partial match waits, the
 * latest: a newer one that reaches the same step replaces it. An event is offered to `until` first
 * and then to the steps from the last to the first, so that it never fills two steps of one match.
 * The time from the first event to the last is at most maxspan, inclusive.
 *
 * Missing events (`![ ]`), as in Elasticsearch, in the order of events:
 * - between two steps: such an event there ends the partial match;
 * - before the first step or behind the last: there has to be a window of length maxspan with the
 *   whole match in it and no such event. So a match with a missing event at its end is certain only
 *   when that window has passed; `advance` says so.
 */
import type { Firing, Hit, StreamLimits, StreamState, StreamStats } from '../rule.ts';
import type { RuleEvent } from '../values.ts';
import type { Pipe } from './ast.ts';
import { type KeyOf, keyOfHit, keyTexts } from './key.ts';
import { createPipes, END_OF_TIME_NS, type SavedPipe } from './pipes.ts';

/** One step, `with runs` written out. */
export interface Stage {
  /** Which of the matcher's tests it waits for. */
  readonly input: number;
  readonly missing: boolean;
  readonly keyOf: KeyOf;
}

interface Wanted {
  readonly stages: readonly Stage[];
  readonly until: Stage | undefined;
  readonly maxspanNs: bigint | undefined;
  readonly pipes: readonly Pipe[];
}

/** A partial match, or a whole one that waits for an absence. */
interface Partial {
  readonly firstNs: bigint;
  /** The latest missing event before the first step; undefined where there was none. */
  readonly leadNs: bigint | undefined;
  readonly events: readonly string[];
}
interface Pending {
  readonly key: string;
  readonly deadlineNs: bigint;
  readonly events: readonly string[];
}

interface SavedSequence {
  readonly stages: number;
  readonly partials: readonly (readonly [string, string, string | null, readonly string[]])[];
  readonly leads: readonly (readonly [string, string])[];
  readonly pending: readonly (readonly [string, string, readonly string[]])[];
  readonly pipes: readonly SavedPipe[];
}

/** What is worked out once a plan: where the steps stand that are no missing events. */
interface Shape {
  readonly first: number;
  readonly last: number;
  /** For each step the nearest step before it that is no missing event; -1 for none. */
  readonly before: readonly number[];
  readonly leading: boolean;
  readonly trailing: boolean;
  /** For each test the steps that wait for it, the last first. */
  readonly stagesOf: readonly (readonly number[])[];
}

/** A sequence, ready to be opened as often as there are states. */
export interface SequencePlan extends Wanted {
  readonly shape: Shape;
}

export function planSequence(wanted: Wanted): SequencePlan {
  const { stages } = wanted;
  const first = stages.findIndex((stage) => !stage.missing);
  const last = stages.findLastIndex((stage) => !stage.missing);
  const before = stages.map((_stage, index) =>
    stages.findLastIndex((stage, at) => at < index && !stage.missing),
  );
  const stagesOf: number[][] = [];
  for (let at = stages.length - 1; at >= 0; at -= 1) {
    const { input } = stages[at] as Stage;
    stagesOf[input] = [...(stagesOf[input] ?? []), at];
  }
  const trailing = last < stages.length - 1;
  return { ...wanted, shape: { first, last, before, leading: first > 0, trailing, stagesOf } };
}

const NONE: readonly Firing[] = [];
/** There are many states, and few of them that wait for an absence. */
const NO_PENDING: readonly Pending[] = [];
const NO_LEADS: ReadonlyMap<string, bigint> = new Map();

const slot = (stage: number, key: string): string => `${stage}${key}`;

class SequenceState implements StreamState {
  readonly #plan: SequencePlan;
  readonly #limits: StreamLimits;
  readonly #pipes: ReturnType<typeof createPipes>;
  /** By step and key, in the order of their last progress, so that the first is the stalest. */
  readonly #partials = new Map<string, Partial>();
  /** The latest leading missing event of a key; made with the first one. */
  #leads: Map<string, bigint> | undefined;
  /** Whole matches that wait for an absence, by their deadline. */
  #pending: readonly Pending[] = NO_PENDING;
  #evicted = 0;

  constructor(plan: SequencePlan, limits: StreamLimits, saved: SavedSequence | undefined) {
    this.#plan = plan;
    this.#limits = limits;
    this.#pipes = createPipes(plan.pipes, saved?.pipes);
    if (saved === undefined) return;
    if (saved.stages !== plan.stages.length) throw new Error('the saved state is of another rule');
    for (const [place, firstNs, leadNs, events] of saved.partials) {
      const lead = leadNs === null ? undefined : BigInt(leadNs);
      this.#partials.set(place, { firstNs: BigInt(firstNs), leadNs: lead, events });
    }
    for (const [key, timeNs] of saved.leads) this.#lead(key, BigInt(timeNs));
    this.#pending = saved.pending.map(([key, deadlineNs, events]) => ({
      key,
      deadlineNs: BigInt(deadlineNs),
      events,
    }));
  }

  feed(event: RuleEvent, hits: readonly Hit[]): readonly Firing[] {
    const out: Firing[] = this.#pending.length === 0 ? [] : this.#release(event.timeNs);
    this.#offerUntil(hits);
    // Tests stand in the order of their steps: backwards through the hits is backwards through them.
    for (let at = hits.length - 1; at >= 0; at -= 1) this.#offer(event, hits[at] as Hit, out);
    this.#expireFirst(event.timeNs);
    if (this.size > this.#limits.groupsMax) this.#bound(event.timeNs);
    return out.length === 0 ? out : this.#pipes.push(out);
  }

  /** Offers an event to the steps that wait for one test, the last step first. */
  #offer(event: RuleEvent, hit: Hit, out: Firing[]): void {
    const { first, last, stagesOf } = this.#plan.shape;
    let key: string | undefined;
    for (const stage of stagesOf[hit.input] ?? []) {
      // Most events are of a later step while nothing waits for one.
      if (stage > last ? this.#pending.length === 0 : stage > first && this.#partials.size === 0) {
        continue;
      }
      const { missing, keyOf } = this.#plan.stages[stage] as Stage;
      // All steps of one input have its key.
      key ??= keyOfHit(hit, keyOf);
      if (key === undefined) return;
      if (missing) this.#refute(stage, key, event);
      else this.#progress(stage, key, event, out);
    }
  }

  advance(timeNs: bigint): readonly Firing[] {
    const out = this.#pending.length === 0 ? NONE : this.#pipes.push(this.#release(timeNs));
    if (timeNs < END_OF_TIME_NS) this.#expireFirst(timeNs);
    return timeNs < END_OF_TIME_NS ? out : [...out, ...this.#pipes.end()];
  }

  /** `until` ends every partial match of its key, before the event may complete one. */
  #offerUntil(hits: readonly Hit[]): void {
    const { until, stages } = this.#plan;
    if (until === undefined || this.#partials.size === 0) return;
    const hit = hits.find((one) => one.input === until.input);
    const key = hit && keyOfHit(hit, until.keyOf);
    if (key === undefined) return;
    for (let stage = 0; stage < stages.length; stage += 1) this.#partials.delete(slot(stage, key));
  }

  /** An event of a step that wants none. */
  #refute(stage: number, key: string, event: RuleEvent): void {
    const { first, last, before } = this.#plan.shape;
    if (stage < first) {
      this.#lead(key, event.timeNs);
    } else if (stage > last) {
      this.#pending = this.#pending.filter((one) => one.key !== key);
    } else {
      this.#partials.delete(slot(before[stage] as number, key));
    }
  }

  #lead(key: string, timeNs: bigint): void {
    this.#leads ??= new Map();
    this.#leads.delete(key);
    this.#leads.set(key, timeNs);
  }

  /** An event of a step: begins a partial match, or takes the waiting one further. */
  #progress(stage: number, key: string, event: RuleEvent, out: Firing[]): void {
    const { first, last, before } = this.#plan.shape;
    let partial: Partial | undefined;
    if (stage === first) {
      const leadNs = this.#leads?.get(key);
      partial = { firstNs: event.timeNs, leadNs, events: [event.id] };
    } else {
      const place = slot(before[stage] as number, key);
      partial = this.#partials.get(place);
      if (partial === undefined) return;
      this.#partials.delete(place);
      if (this.#isOver(partial.firstNs, event.timeNs)) return;
      // A list that is pushed to makes room for many.
      partial = { ...partial, events: [...partial.events, event.id] };
    }
    if (stage === last) {
      out.push(...this.#complete(key, partial, event.timeNs));
      return;
    }
    const place = slot(stage, key);
    // Deleted first, so that it stands behind the partial matches that moved before it.
    this.#partials.delete(place);
    this.#partials.set(place, partial);
  }

  /** All steps have their events: it fires, waits for an absence, or is refuted by the past. */
  #complete(key: string, partial: Partial, timeNs: bigint): readonly Firing[] {
    const { leading, trailing } = this.#plan.shape;
    const { leadNs, firstNs, events } = partial;
    const span = this.#plan.maxspanNs ?? 0n;
    if (leading && !trailing && leadNs !== undefined && timeNs - leadNs <= span) return [];
    if (trailing) {
      const from = leading ? leadNs : firstNs;
      const deadlineNs = from === undefined ? undefined : from + span;
      if (deadlineNs !== undefined && deadlineNs >= timeNs) {
        this.#wait({ key, deadlineNs, events });
        return [];
      }
    }
    return [{ timeNs, key: keyTexts(key), events }];
  }

  /** Keeps the pending matches in the order in which they become certain. */
  #wait(pending: Pending): void {
    const behind = this.#pending.findLastIndex((one) => one.deadlineNs <= pending.deadlineNs);
    this.#pending = this.#pending.toSpliced(behind + 1, 0, pending);
  }

  /** Fires what is certain when no event before `timeNs` comes any more. */
  #release(timeNs: bigint): Firing[] {
    const open = this.#pending.findIndex((one) => one.deadlineNs >= timeNs);
    const count = open < 0 ? this.#pending.length : open;
    if (count === 0) return [];
    const certain = this.#pending.slice(0, count);
    this.#pending = this.#pending.slice(count);
    return certain.map(({ key, deadlineNs, events }) => ({
      timeNs: deadlineNs,
      key: keyTexts(key),
      events,
    }));
  }

  #isOver(fromNs: bigint, timeNs: bigint): boolean {
    const { maxspanNs } = this.#plan;
    return maxspanNs !== undefined && timeNs - fromNs > maxspanNs;
  }

  /** Forgets what can't match any more, as far as it stands at the front. */
  #expireFirst(timeNs: bigint): void {
    if (this.#plan.maxspanNs === undefined) return;
    for (const [place, { firstNs }] of this.#partials) {
      if (!this.#isOver(firstNs, timeNs)) break;
      this.#partials.delete(place);
    }
    for (const [key, leadNs] of this.#leads ?? NO_LEADS) {
      if (!this.#isOver(leadNs, timeNs)) break;
      this.#leads?.delete(key);
    }
  }

  /** Forgets all that can't match any more. */
  #expire(timeNs: bigint): void {
    if (this.#plan.maxspanNs === undefined) return;
    for (const [place, { firstNs }] of this.#partials) {
      if (this.#isOver(firstNs, timeNs)) this.#partials.delete(place);
    }
    for (const [key, leadNs] of this.#leads ?? NO_LEADS) {
      if (this.#isOver(leadNs, timeNs)) this.#leads?.delete(key);
    }
  }

  /** Keeps the state within its limit: first what is dead goes, then the stalest. */
  #bound(timeNs: bigint): void {
    const most = this.#limits.groupsMax;
    this.#expire(timeNs);
    for (const store of [this.#partials, this.#leads]) {
      for (const place of store?.keys() ?? []) {
        if (this.size <= most) return;
        store?.delete(place);
        this.#evicted += 1;
      }
    }
    const over = this.size - most;
    if (over > 0) this.#pending = this.#pending.slice(over);
    this.#evicted += Math.max(0, over);
  }

  get size(): number {
    return this.#partials.size + (this.#leads?.size ?? 0) + this.#pending.length;
  }

  save(): SavedSequence {
    return {
      stages: this.#plan.stages.length,
      partials: [...this.#partials].map(([place, { firstNs, leadNs, events }]) => [
        place,
        String(firstNs),
        leadNs === undefined ? null : String(leadNs),
        [...events],
      ]),
      leads: [...(this.#leads ?? NO_LEADS)].map(([key, timeNs]) => [key, String(timeNs)]),
      pending: this.#pending.map((one) => [one.key, String(one.deadlineNs), [...one.events]]),
      pipes: this.#pipes.save(),
    };
  }

  stats(): StreamStats {
    let events = this.#pipes.held();
    for (const partial of this.#partials.values()) events += partial.events.length;
    for (const one of this.#pending) events += one.events.length;
    return { groups: this.size, events, evicted: this.#evicted };
  }
}

/**
 * Opens the state of a sequence.
 *
 * @param saved of `save()` of a state with the same plan; another one's throws
 */
export function openSequence(
  plan: SequencePlan,
  limits: StreamLimits,
  saved?: unknown,
): StreamState {
  return new SequenceState(plan, limits, saved as SavedSequence | undefined);
}
