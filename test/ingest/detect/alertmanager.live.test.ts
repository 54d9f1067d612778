/** The real Alertmanager (Debian's prometheus-alertmanager), with a receiver of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pickPorts } from '../../../deploy/kafka/ports.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import {
  ALERTMANAGER_DEFAULTS,
  type AlertmanagerSettings,
  createAlertmanager,
} from '../../../ingest/detect/alertmanager.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { alertAt, link } from './alerts.ts';

const BINARY = 'prometheus-alertmanager';
const there = spawnSync(BINARY, ['--version']).status === 0;
if (!there)
  process.stderr.write(`SKIPPED: Alertmanager tests need ${BINARY} (Debian has it) on the PATH\n`);

interface Received {
  readonly status: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-alertmanager-'));
const received: Received[] = [];
let server: Server;
let child: ChildProcess;
let url: string;

const CONFIG = (receiver: string) => `
route:
  receiver: test
  group_by: ['...']
  group_wait: 100ms
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: test
    webhook_configs:
      - url: ${receiver}
        send_resolved: true
`;

beforeAll(async () => {
  if (!there) return;
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push(...JSON.parse(Buffer.concat(chunks).toString()).alerts);
      response.writeHead(200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = (server.address() as AddressInfo).port;
  const [own] = await pickPorts(1);
  url = `http://127.0.0.1:${own}`;
  fs.writeFileSync(path.join(dir, 'config.yml'), CONFIG(`http://127.0.0.1:${port}/`));
  child = spawn(
    BINARY,
    [
      `--config.file=${path.join(dir, 'config.yml')}`,
      `--storage.path=${dir}`,
      `--web.listen-address=127.0.0.1:${own}`,
      '--cluster.listen-address=',
    ],
    { stdio: 'ignore' },
  );
  for (let i = 0; i < 200; i++) {
    const ready = await fetch(`${url}/-/ready`).catch(() => undefined);
    if (ready?.ok) return;
    await delay(50);
  }
  throw new Error('Alertmanager did not become ready');
});

afterAll(() => {
  child?.kill('SIGKILL');
  server?.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

function sinkFor(over: Partial<AlertmanagerSettings> = {}) {
  const [log, meter] = [fakeLog(), fakeMeter()];
  const deps = { log, meter, clock: createClock(), link };
  return { sink: createAlertmanager({ ...ALERTMANAGER_DEFAULTS, url, ...over }, deps), log, meter };
}

async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`not within 20 s: ${what}`);
    await delay(50);
  }
}

const listed = async (fingerprint: string) => {
  const filter = encodeURIComponent(`fingerprint="${fingerprint}"`);
  const answer = await fetch(`${url}/api/v2/alerts?filter=${filter}`);
  return (await answer.json()) as { status: { state: string }; updatedAt: string }[];
};
const told = (fingerprint: string, status: string) =>
  received.filter((one) => one.labels.fingerprint === fingerprint && one.status === status);

describe.skipIf(!there)('Alertmanager', () => {
  it('fires an alert, keeps it firing by repeating it, and resolves it', async () => {
    const { sink, meter } = sinkFor({ firingMs: 3_000, repostMs: 500 });
    const alert = alertAt(0);
    await sink.start();
    sink.raise([alert, alert]);
    await until('it fires', () => told(alert.fingerprint, 'firing').length === 1);
    const [first] = await listed(alert.fingerprint);
    await until('it is repeated', async () => {
      const [now] = await listed(alert.fingerprint);
      return now !== undefined && now.updatedAt !== first?.updatedAt;
    });
    await until('it is resolved', () => told(alert.fingerprint, 'resolved').length === 1);
    await sink.stop();
    const [firing] = told(alert.fingerprint, 'firing');
    expect(firing?.labels).toMatchObject({
      alertname: 'Secret read, then egress',
      severity: 'critical',
      rule_id: 'net-042',
      tenant: 'acme',
    });
    expect(firing?.annotations).toMatchObject({ timeline: link(alert), license: 'DRL-1.1' });
    expect(meter.counts.get('telltale.alerts.delivered')).toBe(1);
  });

  it('resolves a withdrawn alert at once', async () => {
    const { sink } = sinkFor();
    const alert = alertAt(10);
    await sink.start();
    sink.raise([alert]);
    await until('it fires', () => told(alert.fingerprint, 'firing').length === 1);
    sink.withdraw([alert]);
    await until('it is resolved', () => told(alert.fingerprint, 'resolved').length === 1);
    await sink.stop();
  });

  it('notifies nobody of a silenced alert', async () => {
    const [silenced, other] = [alertAt(20), alertAt(30)];
    const matcher = { name: 'fingerprint', value: silenced.fingerprint, isRegex: false };
    const silence = {
      matchers: [{ ...matcher, isEqual: true }],
      startsAt: new Date().toISOString(),
      endsAt: new Date(Date.now() + 600_000).toISOString(),
      createdBy: 'test',
      comment: 'triage',
    };
    const answer = await fetch(`${url}/api/v2/silences`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(silence),
    });
    expect(answer.status).toBe(200);
    const { sink } = sinkFor();
    await sink.start();
    sink.raise([silenced, other]);
    await until('the other fires', () => told(other.fingerprint, 'firing').length === 1);
    await until('it is known as silenced', async () => {
      const [found] = await listed(silenced.fingerprint);
      return found?.status.state === 'suppressed';
    });
    await delay(500);
    await sink.stop();
    expect(told(silenced.fingerprint, 'firing')).toEqual([]);
  });

  it('takes hostile words as words', async () => {
    const title = 'a"}\n{{ .Labels }} <b>\u0000 é';
    const rule = { ...alertAt(0).rule, title };
    const alert = alertAt(40, { rule, reason: '{{ template "x" }}\u202e' });
    const { sink, log } = sinkFor();
    await sink.start();
    sink.raise([alert]);
    await until('it fires', () => told(alert.fingerprint, 'firing').length === 1);
    await sink.stop();
    expect(told(alert.fingerprint, 'firing')[0]?.labels.alertname).toBe(title);
    expect(log.lines).toEqual([]);
  });

  it('goes on when Alertmanager was away', async () => {
    const [port] = await pickPorts(1);
    const { sink, log } = sinkFor({ url: `http://127.0.0.1:${port}` });
    await sink.start();
    sink.raise([alertAt(50)]);
    await until('it says so', () => log.lines.length > 0);
    await sink.stop();
    expect(log.lines[0]).toMatchObject({ level: 'warn', event: 'alert.not_delivered' });
  });
});
