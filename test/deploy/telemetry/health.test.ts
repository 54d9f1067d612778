/** What the probes answer, for stores, consumers, sealers and disks in each state; and the server. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Store, StoreError, type StoreFaultCode } from '#schemas';
import { UsageError } from '../../../deploy/process/lifecycle.ts';
import {
  consumerChecks,
  diskCheck,
  sealerChecks,
  storeChecks,
} from '../../../deploy/telemetry/checks.ts';
import { type Check, createHealth } from '../../../deploy/telemetry/health.ts';
import { createHealthServer } from '../../../deploy/telemetry/serve.ts';
import { healthAddress, telemetrySettings } from '../../../deploy/telemetry/settings.ts';
import type { ConsumerState } from '../../../ingest/consume.ts';
import type { SealerState } from '../../../ingest/seal/sealer.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';

const SECRET = 'hunter2-in-a-message';
const MINUTE_NS = 60_000_000_000n;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-health-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

/** A store of which only questions matter. */
const storeThat = (query: () => Promise<never[]>): Store => ({ query }) as unknown as Store;
const good = storeThat(async () => []);
const failing = (code: StoreFaultCode) =>
  storeThat(async () => {
    throw new StoreError({ code, message: `http://user:${SECRET}@store failed` });
  });

function healthOf(checks: readonly Check[]) {
  const [clock, log, meter] = [fakeClock(), fakeLog(), fakeMeter()];
  // A clock that stands still never ends a sleep: what is in time must not wait for it.
  const still = { ...clock, sleep: () => new Promise<void>(() => {}) };
  return { ...createHealth({ service: 't', checks, clock: still, log, meter }), clock, log };
}

const storeOnly = (store: Store) => storeChecks(store).filter(({ name }) => name === 'store');

describe('/readyz', () => {
  it('passes where the store answers', async () => {
    expect(await healthOf(storeOnly(good)).ready()).toEqual({
      status: 'pass',
      service: 't',
      checks: { store: { status: 'pass' } },
    });
  });

  it.each(['unreachable', 'unknown', 'refused', 'busy', 'limit', 'closed'] as const)(
    'fails with the word %s alone, whatever the store said',
    async (code) => {
      const health = healthOf(storeOnly(failing(code)));
      const report = await health.ready();
      expect(report.status).toBe('fail');
      expect(report.checks.store).toEqual({ status: 'fail', reason: code });
      expect(JSON.stringify(report)).not.toContain(SECRET);
    },
  );

  it('does not wait for a store that does not answer', async () => {
    const clock = fakeClock();
    const hangs = storeThat(() => new Promise(() => {}));
    const [log, meter] = [fakeLog(), fakeMeter()];
    const health = createHealth({ service: 't', checks: storeOnly(hangs), clock, log, meter });
    expect((await health.ready()).checks.store).toEqual({ status: 'fail', reason: 'timeout' });
  });

  it('asks the store once for all who ask within a second', async () => {
    let asked = 0;
    const counting = storeThat(async () => {
      asked++;
      return [];
    });
    const health = healthOf(storeOnly(counting));
    await Promise.all([health.ready(), health.ready(), health.ready()]);
    await health.ready();
    expect(asked).toBe(1);
    health.clock.advance(1_001);
    await health.ready();
    expect(asked).toBe(2);
  });

  it('tells a store without our schema from one that is away', async () => {
    const schema = (store: Store) =>
      healthOf(storeChecks(store).filter(({ name }) => name === 'schema')).ready();
    expect((await schema(good)).checks.schema).toEqual({ status: 'fail', reason: 'store_older' });
    expect((await schema(failing('busy'))).checks.schema?.reason).toBe('busy');
  });

  it('says once that something changed, and what', async () => {
    let store = good;
    const health = healthOf(
      storeOnly(storeThat(() => store.query({} as never, {} as never) as never)),
    );
    await health.ready();
    store = failing('unreachable');
    for (let i = 0; i < 3; i++) {
      health.clock.advance(2_000);
      await health.ready();
    }
    const said = health.log.lines.filter(({ event }) => event === 'health.changed');
    expect(said.map(({ fields }) => fields.status)).toEqual(['fail']);
    expect(said[0]?.fields.reason).toBe('unreachable');
  });
});

describe('a consumer', () => {
  const clock = fakeClock();
  const ago = (minutes: bigint) => clock.monotonicNs() - minutes * MINUTE_NS;
  const joined = { joined: true, partitions: 3, polledNs: ago(0n), busySinceNs: undefined };
  const look = async (state: ConsumerState, of: 'ready' | 'live', store = good) =>
    consumerChecks({ state }, store, clock)
      .find((one) => one.of === of)
      ?.look();

  it.each<[string, ConsumerState, string | undefined]>([
    ['is ready when it has polled lately', joined, undefined],
    ['is not before it has joined', { ...joined, joined: false }, 'not_joined'],
    ['is not when it polls no more', { ...joined, polledNs: ago(2n) }, 'not_polled'],
    [
      'is while a long batch is at work',
      { ...joined, polledNs: ago(9n), busySinceNs: ago(9n) },
      undefined,
    ],
    [
      'is when there is nothing to poll for it',
      { ...joined, partitions: 0, polledNs: ago(9n) },
      undefined,
    ],
  ])('%s', async (_name, state, reason) => {
    expect(await look(state, 'ready')).toBe(reason);
  });

  it('is alive while a batch waits for a store that is away, and dead where it waits for nothing', async () => {
    const long = { ...joined, busySinceNs: ago(20n) };
    expect(await look(long, 'live', failing('unreachable'))).toBeUndefined();
    expect(await look(long, 'live')).toBe('stuck');
    expect(await look({ ...joined, polledNs: ago(20n) }, 'live')).toBe('stuck');
    expect(await look(joined, 'live')).toBeUndefined();
  });
});

describe('a sealer', () => {
  const clock = fakeClock();
  const ago = (minutes: bigint) => clock.monotonicNs() - minutes * MINUTE_NS;
  const look = (state: SealerState, of: 'ready' | 'live') =>
    sealerChecks({ state }, good, clock)
      .find((one) => one.of === of)
      ?.look();
  const done = { doneNs: ago(0n), failing: false, busySinceNs: undefined };

  it('is ready after a whole round that was not long ago', async () => {
    expect(await look(done, 'ready')).toBeUndefined();
    expect(await look({ ...done, doneNs: undefined }, 'ready')).toBe('not_started');
    expect(await look({ ...done, failing: true }, 'ready')).toBe('failing');
    expect(await look({ ...done, doneNs: ago(5n) }, 'ready')).toBe('stuck');
    expect(await look({ ...done, busySinceNs: ago(16n) }, 'live')).toBe('stuck');
  });
});

describe('a disk', () => {
  it('fails where the directory is none, and passes where it takes a file', async () => {
    expect(await diskCheck(dir).look()).toBeUndefined();
    expect(await diskCheck(path.join(dir, 'none')).look()).toBe('not_writable');
  });
});

describe('the health server', () => {
  async function serve(checks: readonly Check[], scrape?: () => Promise<string>) {
    const log = fakeLog();
    const at = { host: '127.0.0.1', port: 0 };
    const server = createHealthServer({ at, health: healthOf(checks), scrape, log });
    await server.start();
    onTestFinished(() => server.stop());
    return server.url;
  }

  it('answers 200 or 503, live apart from ready', async () => {
    const url = await serve(storeOnly(failing('busy')));
    const ready = await fetch(`${url}/readyz`);
    expect([ready.status, (await ready.json()).checks.store.reason]).toEqual([503, 'busy']);
    const live = await fetch(`${url}/healthz`);
    expect([live.status, (await live.json()).status]).toEqual([200, 'pass']);
    expect((await fetch(`${url}/metrics`)).status).toBe(404);
    expect((await fetch(`${url}/graphql`)).status).toBe(404);
  });

  it('gives Prometheus its text, and no page of another name anything', async () => {
    const url = await serve([], async () => 'telltale_x_total 1\n');
    const scraped = await fetch(`${url}/metrics`);
    expect(await scraped.text()).toBe('telltale_x_total 1\n');
    expect(scraped.headers.get('content-type')).toContain('version=0.0.4');
    const { request } = await import('node:http');
    const status = await new Promise((resolve) => {
      const asked = request(`${url}/metrics`, { headers: { host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.end();
    });
    expect(status).toBe(421);
  });
});

describe('settings', () => {
  it('put the health server on loopback where no host is given', () => {
    expect(healthAddress('9464', {})).toEqual({ host: '127.0.0.1', port: 9464 });
    expect(healthAddress(undefined, { TELLTALE_HEALTH: '0.0.0.0:1' })?.host).toBe('0.0.0.0');
    expect(healthAddress('[::1]:9464', {})).toEqual({ host: '::1', port: 9464 });
    expect(healthAddress(undefined, {})).toBeUndefined();
    for (const text of ['x', '1.2.3.4', 'a b:1', ':1', '70000'])
      expect(() => healthAddress(text, {})).toThrow(UsageError);
  });

  it('send over OTLP only where somebody said so', () => {
    const sent = (env: NodeJS.ProcessEnv) => [...telemetrySettings(undefined, env).otlp];
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
    expect(sent({})).toEqual([]);
    expect(sent(endpoint)).toEqual(['traces', 'metrics', 'logs']);
    expect(sent({ ...endpoint, OTEL_LOGS_EXPORTER: 'none' })).toEqual(['traces', 'metrics']);
    expect(sent({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://x/v1/traces' })).toEqual(['traces']);
    expect(sent({ ...endpoint, OTEL_SDK_DISABLED: 'true' })).toEqual([]);
    for (const wrong of [
      { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      { ...endpoint, OTEL_TRACES_EXPORTER: 'zipkin' },
      { OTEL_METRICS_EXPORTER: 'otlp' },
      { ...endpoint, OTEL_METRIC_EXPORT_INTERVAL: '-1' },
    ])
      expect(() => telemetrySettings(undefined, wrong)).toThrow(UsageError);
  });
});
