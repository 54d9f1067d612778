/**
 * What was watched, and how well: for any interval which sensors and channels were alive, which
 * losses are declared or show as missing numbers, and how good the evidence is that there is.
 *
 * A sensor is on from the event that says what it covers until one that says otherwise, the loss of
 * the sensor, or the end of its stream. Where events are missing, the loss lies between the times
 * of the events on both sides of it. Everything is laid out once, so that an interval costs the
 * logarithm of the session and what lies in it.
 */
import { ASSURANCES, eventId, type GapReason, type Ranges } from '#schemas';
import { present } from './merge.ts';
import type { StreamVerdicts } from './story.ts';
import { type FlatEvent, isSeen, kindsWith, roleOf } from './view.ts';

type Assurance = (typeof ASSURANCES)[number];

/** What one sensor or channel of one stream covers for a time. */
export interface SensorSpan {
  readonly streamId: string;
  readonly name: string;
  readonly coverage: string;
  readonly rung?: number;
  readonly reason?: string;
  /** It shows what the kernel did, rather than what an agent says. */
  readonly kernel: boolean;
  readonly fromNs: string;
  readonly toNs: string;
  readonly eventId: string;
}

/** Events that are missing, and between which times. */
export interface Loss {
  readonly streamId: string;
  readonly fromNs: string;
  readonly toNs: string;
  /** A declared reason; `unaccounted`: nobody declared it. */
  readonly reason: GapReason | 'unaccounted';
  /** Absent where nobody knows. */
  readonly count?: number;
  readonly sensor?: string;
  /** The event that declares it. */
  readonly eventId?: string;
}

export interface Channel {
  readonly source: string;
  readonly events: number;
  readonly lastNs: string;
}

/** What was watched in an interval. */
export interface Coverage {
  readonly fromNs: string;
  readonly toNs: string;
  /**
   * Of the kernel's sensors: `complete` over all of it and nothing lost; `partial`; `none`;
   * `unknown`: no sensor has said anything.
   */
  readonly verdict: 'complete' | 'partial' | 'none' | 'unknown';
  readonly sensors: readonly SensorSpan[];
  readonly losses: readonly Loss[];
  /** Sources that reported something in it. */
  readonly channels: readonly Channel[];
  /** Events in it, by how good their evidence is. */
  readonly assurance: Readonly<Record<Assurance, number>>;
}

export interface CoverageMap {
  readonly of: (fromNs: string, toNs: string) => Coverage;
  /** The verdict alone. */
  readonly verdict: (fromNs: string, toNs: string) => Coverage['verdict'];
}

const GAPS = new Set(kindsWith('gap_reason'));
const CLOSES = new Set(kindsWith('close_reason'));
/** A rung below which only agents tell. */
const AGENT_RUNG = 4;

/** How many of `sorted` are below `ns`, or at it where `orAt`. */
function below(sorted: readonly string[], ns: string, orAt: boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const at = sorted[middle] as string;
    if (at < ns || (orAt && at === ns)) low = middle + 1;
    else high = middle;
  }
  return low;
}

type Draft = { -readonly [K in keyof SensorSpan]: SensorSpan[K] };

/**
 * Since when a sensor's first word holds: from its stream's begin on where nothing happened in the
 * stream before it, since the recorded command starts only after its sensor was tried.
 */
function beginsOf(events: readonly FlatEvent[]): (event: FlatEvent) => string {
  const begun = new Map<string, string>();
  const happened = new Set<string>();
  const quiet = new Map<FlatEvent, string>();
  for (const event of events) {
    const { stream_id: stream } = event;
    if (!begun.has(stream)) begun.set(stream, event.ts);
    if (roleOf(event) !== 'protocol') happened.add(stream);
    else if (!happened.has(stream)) quiet.set(event, begun.get(stream) ?? event.ts);
  }
  return (event) => quiet.get(event) ?? event.ts;
}

function sensorSpans(events: readonly FlatEvent[]): SensorSpan[] {
  const kernels = new Set(
    events
      .filter((event) => isSeen(event) && roleOf(event) === 'effect')
      .map(({ source }) => source),
  );
  const last = events.at(-1)?.ts ?? '0';
  const begins = beginsOf(events);
  const open = new Map<string, Draft>();
  const out: Draft[] = [];
  const end = (key: string, ns: string) => {
    const span = open.get(key);
    if (span !== undefined) span.toNs = ns;
    open.delete(key);
  };
  const begin = (event: FlatEvent, name: string, coverage: string) => {
    const key = `${event.stream_id} ${name}`;
    const before = open.get(key);
    if (before?.coverage === coverage) return;
    end(key, event.ts);
    const { sensor_rung: rung, reason } = event;
    const span: Draft = {
      streamId: event.stream_id,
      name,
      coverage,
      kernel: rung === undefined ? kernels.has(name) : rung < AGENT_RUNG,
      fromNs: before === undefined ? begins(event) : event.ts,
      toNs: last,
      eventId: eventId(event),
      ...present({ rung: rung ?? before?.rung, reason }),
    };
    open.set(key, span);
    out.push(span);
  };
  for (const event of events) {
    const { sensor_name: name } = event;
    if (name !== undefined && event.coverage !== undefined) begin(event, name, event.coverage);
    else if (name !== undefined && event.gap_reason === 'sensor_lost') begin(event, name, 'none');
    else if (CLOSES.has(event.kind))
      for (const key of [...open.keys()])
        if (key.startsWith(`${event.stream_id} `)) end(key, event.ts);
  }
  return out;
}

interface Numbered {
  readonly seqs: number[];
  readonly times: string[];
}

function byNumber(events: readonly FlatEvent[]): Map<string, Numbered> {
  const streams = new Map<string, FlatEvent[]>();
  for (const event of events) {
    const list = streams.get(event.stream_id);
    if (list === undefined) streams.set(event.stream_id, [event]);
    else list.push(event);
  }
  return new Map(
    [...streams].map(([id, list]) => {
      list.sort((a, b) => a.seq - b.seq);
      return [id, { seqs: list.map(({ seq }) => seq), times: list.map(({ ts }) => ts) }];
    }),
  );
}

/** The times of the events on both sides of some numbers. */
function timesAround({ seqs, times }: Numbered, first: number, last: number): [string, string] {
  let low = 0;
  let high = seqs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((seqs[middle] as number) < first) low = middle + 1;
    else high = middle;
  }
  let after = low;
  while (after < seqs.length && (seqs[after] as number) <= last) after++;
  const from = times[low - 1] ?? times[0] ?? '0';
  const to = times[after] ?? times.at(-1) ?? '0';
  return from <= to ? [from, to] : [to, from];
}

const later = (a: string, b: string): string => [a, b].sort()[1] as string;

function declaredLoss(event: FlatEvent, numbers: Map<string, Numbered>): Loss {
  const { gap_first_seq: first, gap_last_seq: last, seq } = event;
  const around = numbers.get(event.stream_id) ?? { seqs: [], times: [] };
  const [fromNs, toNs] =
    first !== undefined && last !== undefined && first <= last
      ? timesAround(around, first, last)
      : timesAround(around, seq, seq);
  return {
    streamId: event.stream_id,
    fromNs,
    // What was lost before it had a number was lost by the time that this was said.
    toNs: first === undefined ? later(event.ts, fromNs) : toNs,
    reason: event.gap_reason ?? 'other',
    eventId: eventId(event),
    ...present({
      count:
        event.gap_count ??
        (first === undefined || last === undefined ? undefined : last - first + 1),
      sensor: event.sensor_name,
    }),
  };
}

function lossesOf(events: readonly FlatEvent[], streams: readonly StreamVerdicts[]): Loss[] {
  const numbers = byNumber(events);
  const declared = events.filter((event) => GAPS.has(event.kind));
  const unaccounted = streams.flatMap(({ streamId, completeness }) => {
    const ranges: Ranges = completeness?.unaccounted ?? [];
    const around = numbers.get(streamId) ?? { seqs: [], times: [] };
    return ranges.map(([first, last]): Loss => {
      const [fromNs, toNs] = timesAround(around, first, last);
      return { streamId, fromNs, toNs, reason: 'unaccounted', count: last - first + 1 };
    });
  });
  return [...declared.map((event) => declaredLoss(event, numbers)), ...unaccounted].sort((a, b) =>
    a.fromNs < b.fromNs ? -1 : a.fromNs > b.fromNs ? 1 : 0,
  );
}

interface Interval {
  readonly fromNs: string;
  readonly toNs: string;
}

/** Intervals put together where they touch, sorted. */
function merged(intervals: readonly Interval[]): Interval[] {
  const out: { fromNs: string; toNs: string }[] = [];
  for (const { fromNs, toNs } of [...intervals].sort((a, b) => (a.fromNs < b.fromNs ? -1 : 1))) {
    const tail = out.at(-1);
    if (tail === undefined || fromNs > tail.toNs) out.push({ fromNs, toNs });
    else if (toNs > tail.toNs) tail.toNs = toNs;
  }
  return out;
}

/** Of sorted, disjoint intervals those that touch `from` … `to`. */
function touching<T extends Interval>(intervals: readonly T[], from: string, to: string): T[] {
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((intervals[middle] as T).toNs < from) low = middle + 1;
    else high = middle;
  }
  const out: T[] = [];
  for (let at = low; at < intervals.length && (intervals[at] as T).fromNs <= to; at++)
    out.push(intervals[at] as T);
  return out;
}

/** The times of events of one sort, so that those of an interval are counted by two look-ups. */
function timesBy<K extends string>(events: readonly FlatEvent[], keyOf: (event: FlatEvent) => K) {
  const times = new Map<K, string[]>();
  for (const event of events) {
    const list = times.get(keyOf(event));
    if (list === undefined) times.set(keyOf(event), [event.ts]);
    else list.push(event.ts);
  }
  return times;
}

/** Lays out what a session's sensors said; `events` in the order of the session. */
export function coverageOf(
  events: readonly FlatEvent[],
  streams: readonly StreamVerdicts[],
): CoverageMap {
  const spans = sensorSpans(events);
  const kernel = spans.filter((span) => span.kernel);
  const losses = lossesOf(events, streams);
  const whole = merged(kernel.filter(({ coverage }) => coverage === 'complete'));
  const some = merged(kernel.filter(({ coverage }) => coverage !== 'none'));
  const holes = merged(losses);
  const bySource = timesBy(events, ({ source }) => source);
  const byAssurance = timesBy(events, ({ assurance }) => assurance);

  function verdict(fromNs: string, toNs: string): Coverage['verdict'] {
    if (kernel.length === 0) return spans.length === 0 ? 'unknown' : 'none';
    const covers = ({ fromNs: from, toNs: to }: Interval) => from <= fromNs && to >= toNs;
    if (touching(whole, fromNs, toNs).some(covers))
      return touching(holes, fromNs, toNs).length === 0 ? 'complete' : 'partial';
    return touching(some, fromNs, toNs).length === 0 ? 'none' : 'partial';
  }
  const within = (times: readonly string[], from: string, to: string) =>
    below(times, to, true) - below(times, from, false);

  return {
    verdict,
    of(fromNs, toNs) {
      const overlaps = (one: Interval) => one.fromNs <= toNs && one.toNs >= fromNs;
      return {
        fromNs,
        toNs,
        verdict: verdict(fromNs, toNs),
        sensors: spans.filter(overlaps),
        losses: losses.filter(overlaps),
        channels: [...bySource].flatMap(([source, times]) => {
          const count = within(times, fromNs, toNs);
          const lastNs = times[below(times, toNs, true) - 1] ?? fromNs;
          return count === 0 ? [] : [{ source, events: count, lastNs }];
        }),
        assurance: Object.fromEntries(
          ASSURANCES.map((name) => [name, within(byAssurance.get(name) ?? [], fromNs, toNs)]),
        ) as Record<Assurance, number>,
      };
    },
  };
}
