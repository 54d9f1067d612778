/** `telltale ingest replay-dead` as a process, killed again and again: each event once. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEAD_TABLE, encode, REPLAYS_TABLE, type Store } from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { deadLine } from '../../ingest/outcome.ts';
import { fakeLog } from '../fakes/ports.ts';
import { LIMITS, newStream } from './engine.ts';

const LETTERS = 5_000;
const KILLS = 3;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-replay-'));
const url = `chdb:${path.join(dir, 'store')}`;
const cli = path.resolve(import.meta.dirname, '../../deploy/cli.ts');
const stream = newStream();

async function withStore<T>(use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(url, { log: fakeLog() });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

beforeAll(() =>
  withStore(async (store) => {
    await migrate(store, { log: fakeLog() });
    const letters = stream.events(0, LETTERS - 1).map((event) =>
      deadLine(
        {
          ...event,
          reason: 'unknown_kind',
          field: 'kind',
          detail: '',
          bytes: encode(event),
          origin: `events/0/1/${event.seq}`,
        },
        Date.now(),
      ),
    );
    const lines = Buffer.from(`${letters.join('\n')}\n`);
    const more = { rows: LETTERS, dedupToken: 'letters', timeMs: 20_000 };
    await store.insert({ table: DEAD_TABLE, lines, ...more });
  }),
);
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function start() {
  const args = ['--conditions=telltale-source', '--import', 'tsx', cli];
  const child = spawn(process.execPath, [...args, 'ingest', 'replay-dead', '--store', url], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, KAFKA_BROKERS: '' },
  });
  let out = '';
  let written = 0;
  let wanted = () => {};
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    written += String(data).split('ingest.replayed').length - 1;
    wanted();
  });
  const ended = new Promise<{ code: number | null; out: string }>((resolve) =>
    child.once('exit', (code) => resolve({ code, out })),
  );
  /** When so many batches of this run were written and marked. */
  const batches = (count: number) =>
    new Promise<void>((resolve) => {
      wanted = () => {
        if (written >= count) resolve();
      };
    });
  return { child, ended, batches };
}

const counts = () =>
  withStore(async (store) => {
    const ask = async (text: string) => {
      const [row] = await store.query({ text, params: {} }, LIMITS);
      return [Number(row?.rows), Number(row?.ids)];
    };
    return {
      events: await ask('SELECT count() AS rows, uniqExact(seq) AS ids FROM telltale.events'),
      marks: await ask(`SELECT count() AS rows, uniqExact(letter_id) AS ids FROM ${REPLAYS_TABLE}`),
    };
  });

it(`stores ${LETTERS} letters once each, with the command killed ${KILLS} times`, async () => {
  const seen: number[] = [];
  for (let kills = 0; kills < KILLS; kills++) {
    const { child, ended, batches } = start();
    await Promise.race([ended, batches(2)]);
    // In any step of the next one: reading, writing, looking, marking. The last one may be done.
    await sleep(Math.random() * 200);
    child.kill('SIGKILL');
    await ended;
    seen.push((await counts()).events[0] ?? 0);
  }
  const { code, out } = await start().ended;
  expect(out).toMatch(/^(?:unknown_kind: \d+ letters: \d+ stored|no dead letter stands)\n$/);
  expect(code).toBe(0);
  console.warn({ seen, last: out.trim() });
  // The first kill came in the middle, however fast the machine is.
  expect(seen[0]).toBeGreaterThan(0);
  expect(seen[0]).toBeLessThan(LETTERS);
  expect(await counts()).toEqual({ events: [LETTERS, LETTERS], marks: [LETTERS, LETTERS] });
}, 180_000);
