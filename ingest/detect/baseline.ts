/**
 * The learned baseline, live: each step of a session is judged by what sessions of the same agent
 * in the same workspace did before; a run of surprising steps is an alert. The model's counts are
 * rows of a table that add up: those of a stream are stored when its close is, under the stream's
 * name, so that they are stored once however often that batch comes.
 *
 *     batch stored ─> steps judged by the model of (tenant, agent, workspace) ─> raise.ts
 *                └─> stream closed ─> its counts ─> telltale.baseline
 *
 * A session with a severe alert is not learned: what an attacker does is not to become normal.
 */
import {
  type Alert,
  type AlertLevel,
  BASELINE_START,
  BASELINE_TABLE,
  type BaselineModel,
  type BaselineSettings,
  type BaselineState,
  type Clock,
  createBaseline,
  explain,
  FINAL_KINDS,
  judgeStep,
  type Log,
  type Meter,
  makeAlert,
  REGISTRY,
  ruleTimeNs,
  type Store,
  StoreError,
  stepToken,
  type TelltaleEvent,
} from '#schemas';
import type { Writer } from '../write.ts';
import {
  countLines,
  countsOf,
  eventsBefore,
  eventsOfStream,
  firstEvent,
  type Place,
  type StreamName,
} from './baseline-rows.ts';
import { alertsOfSession } from './history.ts';
import { createRaiser, openBook } from './raise.ts';
import type { Sink } from './sink.ts';

/** When it judges, and what its alerts say of themselves: data. */
export interface BaselineRule extends BaselineSettings {
  readonly rule: Alert['rule'];
  /** Streams that a model has to have learned before it judges. */
  readonly sessionsMin: number;
  /** A session with an alert of one of these levels is not learned. */
  readonly distrusts: readonly AlertLevel[];
}

export interface BaselineLimits {
  /** Streams whose place is known; the least recently seen are read again when they come back. */
  readonly streamsMax: number;
  /** Counts of one model, the highest first, and of all models that are held. */
  readonly countsMax: number;
  readonly countsHeldMax: number;
  /** What others learned meanwhile is read so often, and sooner where a model is not ready. */
  readonly reloadMs: number;
  readonly reloadUnreadyMs: number;
  /** Events of one stream that are learned. */
  readonly learnMax: number;
  readonly alertsPerSessionMax: number;
}

export const BASELINE_LIMITS: BaselineLimits = {
  streamsMax: 50_000,
  countsMax: 50_000,
  countsHeldMax: 500_000,
  reloadMs: 600_000,
  reloadUnreadyMs: 60_000,
  learnMax: 200_000,
  alertsPerSessionMax: 20,
};

/** Events before the first that is judged after a restart: enough for a window of steps. */
const TAIL_EVENTS = 500;
const INSERT_MS = 60_000;
const MS_NS = 1_000_000n;
/** What stands before the first step of a stream. */
const BEGINNING = BASELINE_START.recent.join(' ');

export interface BaselineDeps {
  readonly store: Store;
  readonly writer: Writer;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly sinks: readonly Sink[];
  readonly rule: BaselineRule;
  readonly limits?: BaselineLimits;
}

export interface Baseline {
  /**
   * Judges the steps among events that are stored, and learns the streams that they close. Rejects
   * only where `signal` is aborted or the store is closed.
   */
  see(events: readonly TelltaleEvent[], signal: AbortSignal): Promise<void>;
  /** Another worker may have seen these streams: they are read again. */
  forget(): void;
}

interface Model {
  readonly counts: BaselineModel;
  readonly size: number;
  readonly ready: boolean;
  readonly loadedNs: bigint;
}

interface Stream {
  readonly place: Place;
  /** False: there was no model to judge by when it was opened. */
  readonly judged: boolean;
  state: BaselineState;
  lastSeq: number;
}

const streamName = ({ tenant, stream_id }: StreamName) => `${stream_id}/${tenant}`;
const placeName = ({ tenant, agent, workspace }: Place) =>
  JSON.stringify([tenant, agent, workspace]);

const tokenOf = (event: TelltaleEvent): string | undefined =>
  stepToken(event, REGISTRY.get(event.kind)?.role ?? 'protocol');

/** A step's name in the model's hands: all that an alert tells of its event. */
const ticket = (event: TelltaleEvent) => `${ruleTimeNs(event)} ${event.stream_id}-${event.seq}`;

function placeOf({ tenant }: StreamName, first: TelltaleEvent | undefined): Place {
  const loose = (first ?? {}) as Readonly<Record<string, unknown>>;
  const text = (name: string) => (typeof loose[name] === 'string' ? String(loose[name]) : '');
  return { tenant, agent: text('agent'), workspace: text('cwd') };
}

function byStream(events: readonly TelltaleEvent[]): readonly TelltaleEvent[][] {
  const out = new Map<string, TelltaleEvent[]>();
  for (const event of events) {
    const list = out.get(streamName(event));
    if (list === undefined) out.set(streamName(event), [event]);
    else list.push(event);
  }
  return [...out.values()].map((list) => list.sort((a, b) => a.seq - b.seq));
}

/** Models in memory, the least recently used let go; what is stored of them is read now and then. */
function createModels({ store, writer, clock, rule }: BaselineDeps, limits: BaselineLimits) {
  const models = new Map<string, Model>();

  async function load(place: Place, signal: AbortSignal): Promise<Model> {
    const ask = () => countsOf(store, place, limits.countsMax);
    const rows = await writer.persist(ask, 'baseline', signal);
    const counts = createBaseline(limits.countsMax);
    counts.add(rows);
    const sessions = rows
      .filter(({ context }) => context === BEGINNING)
      .reduce((sum, { count }) => sum + count, 0);
    const ready = sessions >= rule.sessionsMin && counts.steps >= rule.stepsMin;
    return { counts, size: rows.length, ready, loadedNs: clock.monotonicNs() };
  }

  function trim(): void {
    let held = 0;
    for (const { size } of models.values()) held += size;
    for (const [name, { size }] of models) {
      if (held <= limits.countsHeldMax || models.size === 1) return;
      models.delete(name);
      held -= size;
    }
  }

  return async function modelOf(place: Place, signal: AbortSignal): Promise<Model> {
    const name = placeName(place);
    const known = models.get(name);
    const ageMs = known === undefined ? 0n : (clock.monotonicNs() - known.loadedNs) / MS_NS;
    const reloadMs = known?.ready === true ? limits.reloadMs : limits.reloadUnreadyMs;
    const model =
      known === undefined || ageMs >= BigInt(reloadMs) ? await load(place, signal) : known;
    models.delete(name);
    models.set(name, model);
    trim();
    return model;
  };
}

export function createLiveBaseline(deps: BaselineDeps): Baseline {
  const { store, writer, log, meter, rule } = deps;
  const limits = deps.limits ?? BASELINE_LIMITS;
  const modelOf = createModels(deps, limits);
  const raiser = createRaiser(deps, limits.alertsPerSessionMax);
  /** In the order of last use. */
  const streams = new Map<string, Stream>();

  /** A stream that is not known: its steps so far, judged in silence. */
  async function open(first: TelltaleEvent, signal: AbortSignal): Promise<Stream> {
    const persist = <T>(work: () => Promise<T>) => writer.persist(work, 'baseline', signal);
    const head = first.seq === 0 ? first : await persist(() => firstEvent(store, first));
    const place = placeOf(first, head);
    const { ready, counts } = await modelOf(place, signal);
    const stream = { place, judged: ready, state: BASELINE_START, lastSeq: first.seq - 1 };
    if (!ready || first.seq === 0) return stream;
    const before = await persist(() => eventsBefore(store, first, first.seq, TAIL_EVENTS));
    for (const event of before) {
      const token = tokenOf(event);
      if (token === undefined) continue;
      stream.state = judgeStep(counts, rule, stream.state, ticket(event), token).state;
    }
    return stream;
  }

  /** Raises an anomaly, unless the table has an alert over one of its steps. */
  async function raise(alert: Alert, signal: AbortSignal): Promise<void> {
    const stored = await writer.persist(() => alertsOfSession(store, alert), 'alerts', signal);
    const mine = stored.filter((one) => one.alert.rule.id === alert.rule.id);
    const ids = new Set(alert.events.map(({ id }) => id));
    if (mine.some((one) => one.alert.events.some(({ id }) => ids.has(id)))) return;
    await raiser.write({ raised: [alert], withdrawn: [] }, () => openBook(mine), signal);
  }

  async function judge(stream: Stream, events: readonly TelltaleEvent[], signal: AbortSignal) {
    const { counts } = await modelOf(stream.place, signal);
    for (const event of events) {
      if (event.seq <= stream.lastSeq) continue;
      stream.lastSeq = event.seq;
      const token = tokenOf(event);
      if (token === undefined) continue;
      const { state, anomaly } = judgeStep(counts, rule, stream.state, ticket(event), token);
      stream.state = state;
      if (anomaly === undefined) continue;
      const { tenant, session_id } = event;
      const steps = anomaly.steps.map(({ id }) => id.split(' ') as [string, string]);
      const alert = makeAlert({
        ...{ tenant, session_id, rule: rule.rule, key: { session_id } },
        events: steps.map(([ts, id]) => ({ id, ts })),
        reason: explain(anomaly),
      });
      await raise(alert, signal);
    }
  }

  /** Stores the counts of a stream that has ended. */
  async function learn(place: Place, close: TelltaleEvent, signal: AbortSignal): Promise<void> {
    const stored = await writer.persist(() => alertsOfSession(store, close), 'alerts', signal);
    const distrusted = stored.some(
      ({ alert, withdrawn }) => !withdrawn && rule.distrusts.includes(alert.rule.level),
    );
    meter.count('telltale.baseline.streams', 1, { learned: distrusted ? 'false' : 'true' });
    if (distrusted) return;
    const read = async () => {
      const tokens: string[] = [];
      for await (const events of eventsOfStream(store, close, limits.learnMax, signal))
        for (const event of events) {
          const token = tokenOf(event);
          if (token !== undefined) tokens.push(token);
        }
      return tokens;
    };
    const counts = createBaseline(limits.countsMax);
    counts.learn(await writer.persist(read, 'baseline', signal));
    const lines = countLines(place, counts.counts());
    if (lines.length === 0) return;
    const one = { table: BASELINE_TABLE, lines: Buffer.from(lines.join('')), rows: lines.length };
    const dedupToken = `baseline/${close.tenant}/${close.stream_id}`;
    const insert = () => store.insert({ ...one, dedupToken, timeMs: INSERT_MS });
    await writer.persist(insert, BASELINE_TABLE, signal);
  }

  async function seeStream(events: readonly TelltaleEvent[], signal: AbortSignal): Promise<void> {
    const first = events[0] as TelltaleEvent;
    const name = streamName(first);
    const stream = streams.get(name) ?? (await open(first, signal));
    streams.delete(name);
    streams.set(name, stream);
    if (stream.judged) await judge(stream, events, signal);
    const close = events.find(({ kind }) => FINAL_KINDS.includes(kind));
    if (close === undefined) return;
    await learn(stream.place, close, signal);
    streams.delete(name);
  }

  return {
    async see(events, signal) {
      for (const ofStream of byStream(events)) {
        try {
          await seeStream(ofStream, signal);
        } catch (error) {
          const closed = error instanceof StoreError && error.fault.code === 'closed';
          if (closed || signal.aborted) throw error;
          meter.count('telltale.baseline.failures', 1);
          log.error('baseline.failed', { error: String(error) });
          streams.delete(streamName(ofStream[0] as TelltaleEvent));
        }
      }
      for (const name of streams.keys()) {
        if (streams.size <= limits.streamsMax) break;
        streams.delete(name);
      }
    },
    forget: () => streams.clear(),
  };
}
