import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EVENTS_TOPIC_SETTINGS, encode, frame, frameLines, type Store } from '#schemas';
import { kafkaTransport } from '../../collector/ship.ts';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { brokersOf, requireKafka, uniqueName } from '../kafka/broker.ts';
import { client, createTopic, openProducer } from '../kafka/client.ts';
import { LIMITS, newStream, type TestStream } from './engine.ts';

const kafka = await requireKafka();
const EVENTS = 20_000;
const STREAMS = 8;
const FRAME_EVENTS = 50;

const script = path.resolve(import.meta.dirname, 'worker.ts');

describe.skipIf('skip' in kafka)('ingest from a real broker', () => {
  const brokers = brokersOf(kafka);
  const topic = uniqueName('ingest');
  const group = uniqueName('ingest');
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-consume-'));
  const logFile = path.join(dir, 'worker.log');
  const storeDir = path.join(dir, 'store');
  let worker: ChildProcess | undefined;

  const open = (): Promise<Store> => openStore(`chdb:${storeDir}`, { log: fakeLog() });

  beforeAll(async () => {
    const store = await open();
    await migrate(store, { log: fakeLog() });
    await store.close();
    const configEntries = Object.entries(EVENTS_TOPIC_SETTINGS).map(([name, value]) => ({
      name,
      value,
    }));
    await createTopic(client(brokers), { topic, numPartitions: 4, configEntries });
  });
  afterAll(() => {
    worker?.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  });

  function startWorker(): void {
    const out = fs.openSync(logFile, 'a');
    const args = ['--conditions=telltale-source', '--import', 'tsx', script];
    worker = spawn(process.execPath, [...args, brokers.join(','), topic, group, storeDir], {
      stdio: ['ignore', out, out],
    });
    fs.closeSync(out);
  }

  const ended = (child: ChildProcess) =>
    new Promise<number | null>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
      else child.once('exit', resolve);
    });

  const batchesLogged = () => fs.readFileSync(logFile, 'utf8').split('"ingest.batch"').length - 1;

  async function until(what: () => boolean | Promise<boolean>, ms: number): Promise<void> {
    const end = Date.now() + ms;
    while (!(await what())) {
      if (Date.now() > end)
        throw new Error(`not within ${ms} ms; the worker said:\n${fs.readFileSync(logFile)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function lag(): Promise<number> {
    const admin = client(brokers).admin();
    await admin.connect();
    const ends = await admin.fetchTopicOffsets(topic);
    const [done] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    await admin.disconnect();
    const at = new Map(done?.partitions.map((one) => [one.partition, Number(one.offset)]));
    return ends.reduce(
      (sum, one) => sum + Number(one.high) - Math.max(0, at.get(one.partition) ?? 0),
      0,
    );
  }

  /** Frames of all streams, mixed, some of them twice, and bad bytes between them. */
  async function produce(streams: readonly TestStream[], from: number, to: number): Promise<void> {
    const transport = kafkaTransport(brokers, fakeLog(), topic);
    await transport.connect();
    const { signal } = new AbortController();
    for (let first = from; first < to; first += FRAME_EVENTS)
      await Promise.all(
        streams.map(async (stream, i) => {
          const bytes = frame(stream.events(first, first + FRAME_EVENTS - 1));
          await transport.send(stream.session_id, bytes, signal);
          if ((first / FRAME_EVENTS + i) % 7 === 0)
            await transport.send(stream.session_id, bytes, signal);
        }),
      );
    await transport.close();
  }

  async function produceBad(stream: TestStream): Promise<void> {
    const producer = await openProducer(client(brokers));
    const lines = [
      encode(stream.event(0)),
      Buffer.from('{"kind":"no.such"}'),
      encode(stream.event(2)),
    ];
    const values = [
      Buffer.from([0xff, 0x00, 0x0a]),
      Buffer.alloc(0),
      frameLines({ ...stream, first_seq: 0 }, lines),
    ];
    await producer.send({
      topic,
      acks: -1,
      messages: values.map((value) => ({ key: 'bad', value, partition: 1 })),
    });
    await producer.disconnect();
  }

  it(`puts ${EVENTS} events into the table once each, with the worker killed on the way`, async () => {
    const streams = Array.from({ length: STREAMS }, () => newStream());
    const bad = newStream();
    const perStream = EVENTS / STREAMS;
    await produce(streams, 0, perStream / 2);
    startWorker();
    await until(() => batchesLogged() >= 2, 40_000);
    const rest = produce(streams, perStream / 2, perStream);
    worker?.kill('SIGKILL');
    await ended(worker as ChildProcess);
    await produceBad(bad);
    startWorker();
    await rest;
    await until(async () => (await lag()) === 0, 60_000);
    worker?.kill('SIGTERM');
    expect(await ended(worker as ChildProcess)).toBe(0);

    const store = await open();
    try {
      const rows = await store.query(
        {
          text: `SELECT toString(stream_id) AS id, count() AS rows, uniqExact(seq) AS seqs, max(seq) AS last
            FROM telltale.events GROUP BY id ORDER BY id`,
          params: {},
        },
        LIMITS,
      );
      const found = rows.map((row) => [
        row.id,
        Number(row.rows),
        Number(row.seqs),
        Number(row.last),
      ]);
      expect(found).toEqual([
        ...streams.map((one) => [one.stream_id, perStream, perStream, perStream - 1]),
        [bad.stream_id, 2, 2, 2],
      ]);
      const dead = await store.query(
        {
          text: 'SELECT reason, seq, origin FROM telltale.dead_letters ORDER BY origin',
          params: {},
        },
        LIMITS,
      );
      expect(dead.map((row) => row.reason).sort()).toEqual([
        'not_a_frame',
        'not_a_frame',
        'unknown_kind',
      ]);
      for (const row of dead) expect(String(row.origin)).toMatch(new RegExp(`^${topic}/1/\\d+`));
    } finally {
      await store.close();
    }
  }, 180_000);
});
