/** Over the real engine: an alert that was stored is told, whichever worker was killed in between. */
import { describe, expect, it, vi } from 'vitest';
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  type Alert,
  alertLine,
  alertStateLine,
  type Store,
} from '#schemas';
import { createDelivery, DELIVERY_LIMITS } from '../../../ingest/detect/delivery.ts';
import { createRaiser, openBook } from '../../../ingest/detect/raise.ts';
import type { Sink, SinkDeps, Told } from '../../../ingest/detect/sink.ts';
import { createWriter, slotsOf } from '../../../ingest/write.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { LIMITS, useEngine } from '../engine.ts';
import { alertAt } from './alerts.ts';

const engine = useEngine();
const never = new AbortController().signal;
const random = { bytes: (count: number) => new Uint8Array(count) };
const NOW_MS = 1_764_000_000_000;
let tests = 0;
/** Alerts that no other test has. */
const some = (count: number): Alert[] => {
  const tenant = `t${tests++}`;
  return Array.from({ length: count }, (_, at) => alertAt(at, { tenant }));
};

/** A worker with sinks that keep what they are told; `take` says that a receiver has it. */
function worker(names: readonly string[], store: Store = engine.store, over = DELIVERY_LIMITS) {
  const [log, meter, clock] = [fakeLog(), fakeMeter(), fakeClock()];
  const told = new Map<string, Alert[]>(names.map((name) => [name, []]));
  const withdrawn = new Map<string, Alert[]>(names.map((name) => [name, []]));
  let delivered: NonNullable<SinkDeps['delivered']> = () => {};
  const sinks = names.map(
    (name): Sink => ({
      name,
      raise: (alerts) => void told.get(name)?.push(...alerts),
      withdraw: (alerts) => void withdrawn.get(name)?.push(...alerts),
      start: async () => {},
      stop: async () => {},
    }),
  );
  const writer = createWriter({ store, log, meter, clock, random });
  const delivery = createDelivery({
    ...{ store, writer, log, meter, clock, limits: over },
    sinks: (note) => {
      delivered = note;
      return sinks;
    },
  });
  const raiser = createRaiser({ writer, log, meter, clock, sinks: [delivery] }, 1_000);
  const raise = (alerts: readonly Alert[]) =>
    raiser.write({ raised: alerts, withdrawn: [] }, () => undefined, never);
  const withdraw = (alerts: readonly Alert[]) =>
    raiser.write({ raised: [], withdrawn: alerts }, () => undefined, never);
  /** What a sink was told of these alerts, in their order. */
  const among = (lists: Map<string, Alert[]>) => (name: string, alerts: readonly Alert[]) =>
    alerts.flatMap(({ fingerprint }) =>
      (lists.get(name) ?? []).filter((one) => one.fingerprint === fingerprint),
    );
  const take = (name: string, alerts: readonly Alert[], what: Told = 'raised') =>
    delivered(name, alerts, what);
  const lists = { toldOf: among(told), withdrawnOf: among(withdrawn) };
  return { delivery, raise, withdraw, take, ...lists, log, meter, clock };
}

/** For what must not come: long enough that it would have. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 500));
/** For what must come, however busy the machine is. */
const until = (holds: () => void | Promise<void>) => vi.waitFor(holds, { timeout: 15_000 });
const store = async (table: string, lines: string[]) => {
  const deps = { store: engine.store, log: fakeLog(), meter: fakeMeter(), clock: fakeClock() };
  const writer = createWriter({ ...deps, random });
  expect(await writer.insert(table, slotsOf(lines), 'test', never)).toEqual([]);
};

async function notedOf(alerts: readonly Alert[]): Promise<string[]> {
  const text = `SELECT note FROM ${ALERT_STATES_TABLE} WHERE tenant = {t:String}
    AND state = 'delivered' ORDER BY note, fingerprint`;
  const rows = await engine.store.query({ text, params: { t: alerts[0]?.tenant ?? '' } }, LIMITS);
  return rows.map(({ note }) => String(note));
}

describe('delivery', () => {
  it('tells after a restart what a killed worker had stored and not delivered', async () => {
    const alerts = some(3);
    const first = worker(['hook']);
    await first.delivery.start();
    await first.raise(alerts);
    first.take('hook', alerts.slice(0, 1));
    first.clock.advance(DELIVERY_LIMITS.noteMs);
    await until(async () => expect(await notedOf(alerts)).toEqual(['hook']));
    // Killed here. The next one tells two, and notes them when it stops.
    const second = worker(['hook']);
    await second.delivery.start();
    await until(() => expect(second.toldOf('hook', alerts)).toEqual(alerts.slice(1)));
    second.take('hook', alerts.slice(1));
    await second.delivery.stop();
    expect(await notedOf(alerts)).toEqual(['hook', 'hook', 'hook']);
    const third = worker(['hook']);
    await third.delivery.start();
    await settled();
    expect(third.toldOf('hook', alerts)).toEqual([]);
  });

  it('keeps sinks apart: what one receiver has, the other may lack', async () => {
    const alerts = some(2);
    const first = worker(['hook', 'topic']);
    await first.delivery.start();
    await first.raise(alerts);
    first.take('topic', alerts);
    await first.delivery.stop();
    const second = worker(['hook', 'topic']);
    await second.delivery.start();
    await until(() => expect(second.toldOf('hook', alerts)).toEqual(alerts));
    expect(second.toldOf('topic', alerts)).toEqual([]);
  });

  it('tells after a restart that an alert does not hold any more, to whoever has it', async () => {
    const [had, unheard] = some(2) as [Alert, Alert];
    const first = worker(['hook']);
    await first.delivery.start();
    await first.raise([had, unheard]);
    first.take('hook', [had]);
    first.clock.advance(DELIVERY_LIMITS.noteMs);
    await until(async () => expect(await notedOf([had])).toEqual(['hook']));
    await first.withdraw([had, unheard]);
    expect(first.withdrawnOf('hook', [had])).toEqual([had]);
    // Killed before the receiver had answered. It never had the other one.
    const second = worker(['hook']);
    await second.delivery.start();
    await until(() => expect(second.withdrawnOf('hook', [had, unheard])).toEqual([had]));
    expect(second.toldOf('hook', [had, unheard])).toEqual([]);
    second.take('hook', [had], 'withdrawn');
    await second.delivery.stop();
    const third = worker(['hook']);
    await third.delivery.start();
    await settled();
    expect(third.withdrawnOf('hook', [had])).toEqual([]);
    // It holds after all, and the receiver has to be told anew.
    const later = NOW_MS + 60_000;
    await store(ALERT_STATES_TABLE, [alertStateLine(had, 'standing', 'engine', '', later)]);
    const fourth = worker(['hook']);
    await fourth.delivery.start();
    await until(() => expect(fourth.toldOf('hook', [had])).toEqual([had]));
  });

  it('tells nobody of what does not hold any more', async () => {
    const [gone, standing] = some(2) as [Alert, Alert];
    await store(ALERTS_TABLE, [gone, standing].map(alertLine));
    await store(ALERT_STATES_TABLE, [
      alertStateLine(gone, 'withdrawn', 'engine', '', NOW_MS),
      alertStateLine(standing, 'withdrawn', 'engine', '', NOW_MS),
      alertStateLine(standing, 'standing', 'engine', '', NOW_MS + 1),
    ]);
    const { delivery, toldOf } = worker(['hook']);
    await delivery.start();
    await until(() => expect(toldOf('hook', [gone, standing])).toEqual([standing]));
  });

  it('does not tell twice what is raised while it looks back', async () => {
    const alerts = some(2);
    let look = () => {};
    const waits = new Promise<void>((resolve) => {
      look = resolve;
    });
    const slow: Store = {
      ...engine.store,
      query: async (...args) => {
        await waits;
        return engine.store.query(...args);
      },
    };
    const { delivery, raise, toldOf } = worker(['hook'], slow);
    await delivery.start();
    await raise(alerts);
    look();
    await until(() => expect(toldOf('hook', alerts)).toEqual(alerts));
  });

  it('looks back for so many and says that there are more', async () => {
    const alerts = some(5);
    await store(ALERTS_TABLE, alerts.map(alertLine));
    const { delivery, log, meter } = worker(['b'], engine.store, {
      ...DELIVERY_LIMITS,
      backMax: 3,
    });
    await delivery.start();
    await until(() => expect(meter.counts.get('telltale.alerts.resumed')).toBe(3));
    expect(log.lines).toMatchObject([
      { level: 'error', event: 'alert.too_many_undelivered' },
      { event: 'alert.delivered_late' },
    ]);
  });

  it('tells a receiver that forgets again, as long as an alert is young', async () => {
    const alerts = some(1);
    await store(ALERTS_TABLE, alerts.map(alertLine));
    const note = (one: Alert) => alertStateLine(one, 'delivered', 'am', 'am', NOW_MS);
    await store(ALERT_STATES_TABLE, alerts.map(note));
    const [log, clock, meter] = [fakeLog(), fakeClock(), fakeMeter()];
    const told: Alert[] = [];
    const shared = { store: engine.store, log, clock, meter };
    const sink = (repeatsMs: number): Sink => ({
      ...{ name: 'am', repeatsMs, withdraw: () => {} },
      raise: (some) => void told.push(...some.filter(({ tenant }) => tenant === alerts[0]?.tenant)),
      start: async () => {},
      stop: async () => {},
    });
    const start = async (repeatsMs: number) => {
      const writer = createWriter({ ...shared, random });
      await createDelivery({ ...shared, writer, sinks: () => [sink(repeatsMs)] }).start();
    };
    await start(0);
    await settled();
    expect(told).toEqual([]);
    await start(600_000);
    await until(() => expect(told).toEqual(alerts));
  });

  it('opens a book with what the table has', () => {
    const [one, two] = some(2) as [Alert, Alert];
    const book = openBook([
      { alert: one, withdrawn: true },
      { alert: two, withdrawn: false },
    ]);
    expect([...book.withdrawn]).toEqual([one.fingerprint]);
    expect(book.known.size).toBe(2);
    expect(book.raised.get(one.rule.id)).toBe(2);
  });
});
