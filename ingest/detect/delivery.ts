/**
 * Delivery that outlives a worker. What a receiver has taken is noted in the table of states, and
 * what was stored and not noted, because its worker was killed, is told after the next start: alerts
 * and withdrawals alike. A receiver may be told twice (killed between its answer and the note), but
 * is told.
 */
import {
  ALERT_STATES_TABLE,
  type Alert,
  alertStateLine,
  type Clock,
  type Log,
  labelOf,
  type Meter,
  SINK_NAMES,
  type Store,
} from '#schemas';
import { slotsOf, type Writer } from '../write.ts';
import { undelivered, unwithdrawn } from './history.ts';
import type { Sink, SinkDeps, Told } from './sink.ts';

export interface DeliveryLimits {
  /** How far back a start looks for alerts that were not delivered. */
  readonly backHours: number;
  /** The most of them that are told to one sink; beyond it is said. */
  readonly backMax: number;
  /** Between two inserts of notes. */
  readonly noteMs: number;
  /** Notes that wait for the store; of what is dropped a receiver may be told again. */
  readonly notesMax: number;
}

export const DELIVERY_LIMITS: DeliveryLimits = {
  backHours: 24,
  backMax: 10_000,
  noteMs: 1_000,
  notesMax: 50_000,
};

export interface DeliveryDeps {
  readonly store: Store;
  readonly writer: Writer;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Makes the sinks; they are told where to note what was taken. */
  readonly sinks: (delivered: NonNullable<SinkDeps['delivered']>) => readonly Sink[];
  readonly limits?: DeliveryLimits;
}

const NOTED = { raised: 'delivered', withdrawn: 'withdrawal_delivered' } as const;

/** All sinks as one, with a memory in the table. */
export function createDelivery(deps: DeliveryDeps): Sink {
  const { store, writer, log, meter, clock } = deps;
  const limits = deps.limits ?? DELIVERY_LIMITS;
  const abort = new AbortController();
  let notes: string[] = [];
  let noting: Promise<void> = Promise.resolve();
  let looking: Promise<void> | undefined;
  let stopTimer = () => {};
  /** Raised since the start, while what came before it is still being read. */
  let fresh: Set<string> | undefined = new Set();

  function delivered(sink: string, alerts: readonly Alert[], what: Told): void {
    const nowMs = Number(clock.wallNs() / 1_000_000n);
    for (const alert of alerts) notes.push(alertStateLine(alert, NOTED[what], sink, sink, nowMs));
    const over = notes.length - limits.notesMax;
    if (over <= 0) return;
    notes.splice(0, over);
    meter.count('telltale.alerts.notes_dropped', over);
  }
  const sinks = deps.sinks(delivered);

  function note(): void {
    const taken = notes;
    if (taken.length === 0) return;
    notes = [];
    noting = noting
      .then(async () => {
        await writer.insert(ALERT_STATES_TABLE, slotsOf(taken), 'delivered', abort.signal);
      })
      .catch((error) => {
        notes = [...taken, ...notes].slice(-limits.notesMax);
        if (!abort.signal.aborted) log.warn('alert.not_noted', { error: String(error) });
      });
  }

  async function tellOne(sink: Sink): Promise<void> {
    const { backHours: hours, backMax } = limits;
    const ask = { sink: sink.name, hours, repeatsMs: sink.repeatsMs ?? 0, limit: backMax + 1 };
    const look = async (from: typeof undelivered): Promise<readonly Alert[]> => {
      const found = await writer.persist(() => from(store, ask), 'undelivered', abort.signal);
      if (found.length > backMax)
        log.error('alert.too_many_undelivered', { sink: sink.name, told: backMax });
      return found.slice(0, backMax).filter(({ fingerprint }) => !fresh?.has(fingerprint));
    };
    const raised = await look(undelivered);
    const withdrawn = await look(unwithdrawn);
    if (raised.length + withdrawn.length === 0) return;
    const counts = { alerts: raised.length, withdrawn: withdrawn.length };
    log.info('alert.delivered_late', { sink: sink.name, ...counts });
    meter.count('telltale.alerts.resumed', raised.length + withdrawn.length, {
      sink: labelOf(SINK_NAMES, sink.name),
    });
    sink.raise(raised);
    sink.withdraw(withdrawn);
  }

  async function tellAll(): Promise<void> {
    try {
      for (const sink of sinks) await tellOne(sink);
    } catch (error) {
      if (!abort.signal.aborted) log.error('alert.look_back_failed', { error: String(error) });
    }
    fresh = undefined;
  }

  return {
    name: 'delivery',
    get waiting() {
      return sinks.reduce((sum, one) => sum + (one.waiting ?? 0), 0);
    },
    raise(alerts) {
      for (const { fingerprint } of alerts) fresh?.add(fingerprint);
      for (const sink of sinks) sink.raise(alerts);
    },
    withdraw(alerts) {
      for (const { fingerprint } of alerts) fresh?.add(fingerprint);
      for (const sink of sinks) sink.withdraw(alerts);
    },
    async start() {
      for (const sink of sinks) await sink.start();
      stopTimer = clock.every(limits.noteMs, note);
      // Not waited for: a store that is away holds up no start.
      looking = sinks.length === 0 ? undefined : tellAll();
    },
    async stop() {
      stopTimer();
      abort.abort();
      await looking;
      for (const sink of sinks) await sink.stop();
      await noting;
      if (notes.length === 0) return;
      const lines = Buffer.from(notes.map((line) => `${line}\n`).join(''));
      const one = { table: ALERT_STATES_TABLE, lines, rows: notes.length, timeMs: 5_000 };
      // Once: what is not noted is told again, which is better than a stop that hangs.
      await store
        .insert({ ...one, dedupToken: `delivered/${notes[0]}/${notes.length}` })
        .catch((error) => log.warn('alert.not_noted', { error: String(error) }));
      notes = [];
    },
  };
}
