import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Alert } from '#schemas';
import {
  createWebhook,
  WEBHOOK_DEFAULTS,
  type WebhookSettings,
  webhookKey,
  webhookSignature,
} from '../../../ingest/detect/webhook.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { alertAt, link } from './alerts.ts';

interface Request {
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

/** A receiver that answers with `statuses` in turn, the last one for ever. */
async function receiver(statuses: readonly number[], headers: Record<string, string> = {}) {
  const requests: Request[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const status = statuses[Math.min(requests.length, statuses.length - 1)] as number;
      requests.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(status, headers).end('words of the receiver');
    });
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

function webhookTo(url: string, over: Partial<WebhookSettings> = {}) {
  const [log, meter] = [fakeLog(), fakeMeter()];
  const [delivered, withdrawn]: [Alert[], Alert[]] = [[], []];
  const hook = createWebhook(
    { ...WEBHOOK_DEFAULTS, url, secret: 'whsec_c2VjcmV0', ...over },
    {
      log,
      meter,
      clock: fakeClock(),
      link,
      delivered: (_sink, alerts, what) =>
        void (what === 'raised' ? delivered : withdrawn).push(...alerts),
    },
  );
  return { hook, log, meter, delivered, withdrawn };
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(done()).toBe(true);
}

describe('webhook', () => {
  it('signs as the Standard Webhooks specification has it', () => {
    // The specification's own example, from its reference libraries.
    const key = webhookKey('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    const id = 'msg_p5jXN8AQM9LWM0D4loKWxJek';
    expect(webhookSignature(key, id, '1614265330', '{"test": 2432232314}')).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  it('delivers in order, with a signature over what was sent', async () => {
    const { requests, url } = await receiver([204]);
    const { hook, delivered, withdrawn } = webhookTo(url);
    hook.raise([alertAt(0), alertAt(1)]);
    hook.withdraw([alertAt(0)]);
    await hook.start();
    // Not by what the receiver has: a stop before its answer would cut the last one off.
    await until(() => withdrawn.length === 1);
    await hook.stop();
    expect(requests).toHaveLength(3);
    const bodies = requests.map(({ body }) => JSON.parse(body));
    expect(bodies.map(({ type }) => type)).toEqual([
      'alert.raised',
      'alert.raised',
      'alert.withdrawn',
    ]);
    expect(bodies[0].data).toEqual({ ...alertAt(0), timeline: link(alertAt(0)) });
    for (const { headers, body } of requests) {
      const id = String(headers['webhook-id']);
      const seconds = String(headers['webhook-timestamp']);
      const signature = webhookSignature(webhookKey('whsec_c2VjcmV0'), id, seconds, body);
      expect(headers['webhook-signature']).toBe(signature);
    }
    expect(delivered).toEqual([alertAt(0), alertAt(1)]);
    expect(withdrawn).toEqual([alertAt(0)]);
  });

  it('tries again with the same id until the receiver takes it', async () => {
    const { requests, url } = await receiver([500, 429, 200]);
    const { hook, log, delivered } = webhookTo(url);
    hook.raise([alertAt(0)]);
    await hook.start();
    await until(() => delivered.length === 1);
    await hook.stop();
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(requests).toHaveLength(3);
    expect(log.lines.map(({ event }) => event)).toEqual([
      'alert.not_delivered',
      'alert.delivery_resumed',
    ]);
  });

  it('gives a refused alert up, says so, and goes on with the next', async () => {
    const { requests, url } = await receiver([410, 200]);
    const { hook, log, meter, delivered } = webhookTo(url);
    hook.raise([alertAt(0), alertAt(1)]);
    await hook.start();
    await until(() => delivered.length === 1);
    await hook.stop();
    expect(requests).toHaveLength(2);
    expect(delivered).toEqual([alertAt(1)]);
    expect(meter.counts.get('telltale.alerts.given_up')).toBe(1);
    expect(log.lines[0]).toMatchObject({ level: 'error', event: 'alert.given_up' });
  });

  it('follows no redirect', async () => {
    const elsewhere = await receiver([200]);
    const { url } = await receiver([307], { location: elsewhere.url });
    const { hook, log } = webhookTo(url, { giveUpMs: 1 });
    hook.raise([alertAt(0)]);
    await hook.start();
    await until(() => log.lines.some(({ event }) => event === 'alert.given_up'));
    await hook.stop();
    expect(elsewhere.requests).toEqual([]);
  });

  it('holds so many, gives up the oldest beyond, and stops while the receiver is away', async () => {
    const { hook, meter } = webhookTo('http://127.0.0.1:1/', { waitingMax: 2 });
    hook.raise([alertAt(0), alertAt(1), alertAt(2)]);
    expect(meter.counts.get('telltale.alerts.given_up')).toBe(1);
    await hook.start();
    await hook.stop();
    await hook.stop();
  });
});
