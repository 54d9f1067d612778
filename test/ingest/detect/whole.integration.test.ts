/** All of live detection as the services put it together: rules of both reaches, to a receiver. */
import fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ALERT_STATES_TABLE, type Alert, frame, type TelltaleEvent } from '#schemas';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { createDetection, SHIPPED } from '../../../deploy/rules/detection.ts';
import { createIngest } from '../../../ingest/loop.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { LIMITS, newStream, useEngine } from '../engine.ts';

const engine = useEngine();
const never = new AbortController().signal;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-detect-'));
fs.writeFileSync(
  path.join(dir, 'rules.yml'),
  `
title: A secret
id: secret
level: low
language: eql
query: file where file_path == "/secret"
---
title: Another host
id: new-host
level: low
language: eql
first_seen:
  where: network where net_host != null
  field: net_host
  by: tenant
  history: 7d
`,
);

const got: Alert[] = [];
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    got.push(JSON.parse(Buffer.concat(chunks).toString()).data);
    response.writeHead(204).end();
  });
});
afterAll(() => {
  server.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function until(done: () => boolean): Promise<void> {
  const end = Date.now() + 25_000;
  while (!done() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(done()).toBe(true);
}

/** A service with detection, which takes `events` and runs until `done`. */
async function serve(events: readonly TelltaleEvent[], done: () => boolean) {
  const [log, meter, clock] = [fakeLog(), fakeMeter(), createClock()];
  const shared = { store: engine.store, log, meter, clock, random: systemRandom };
  const { port } = server.address() as AddressInfo;
  const detection = createDetection(
    {
      folders: [dir],
      baseline: SHIPPED.baseline,
      fleetRules: true,
      webhookUrl: `http://127.0.0.1:${port}/`,
      webhookSecret: 'whsec_c2VjcmV0',
      queryUrl: () => 'http://127.0.0.1:1',
    },
    shared,
  );
  await detection.start();
  try {
    const ingest = createIngest({ ...shared, detect: detection.detect });
    const frames = [{ bytes: frame(events), origin: 'test' }];
    if (events.length > 0) await ingest.take({ name: `whole/${events[0]?.seq}`, frames }, never);
    await until(done);
  } finally {
    await detection.stop();
  }
  return log.lines.filter(({ level }) => level === 'warn' || level === 'error');
}

describe('detection as a service has it', () => {
  it('finds, stores, tells and notes, and after a restart tells nothing twice', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const stream = newStream();
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    const event = (seq: number, body: object) => {
      const ts = String(nowNs + BigInt(seq));
      return { ...stream.event(seq), ts, observed_ts: ts, ...body } as TelltaleEvent;
    };
    const events = [
      event(0, { file_op: 'read', file_path: '/secret' }),
      {
        ...event(1, {}),
        ...{ kind: 'net', file_op: undefined, file_path: undefined },
        ...{ net_op: 'connect', net_host: 'a.example', net_port: 443 },
      } as unknown as TelltaleEvent,
    ];
    expect(await serve(events, () => got.length >= 2)).toEqual([]);
    expect(got.map(({ rule }) => rule.id).sort()).toEqual(['new-host', 'secret']);
    const text = `SELECT note FROM ${ALERT_STATES_TABLE} WHERE state = 'delivered'`;
    const notes = await engine.store.query({ text, params: {} }, LIMITS);
    expect(notes).toEqual([{ note: 'webhook' }, { note: 'webhook' }]);
    const more = [event(2, { file_path: '/other' })];
    const begun = Date.now();
    expect(await serve(more, () => Date.now() - begun > 2_000)).toEqual([]);
    expect(got).toHaveLength(2);
  });
});
