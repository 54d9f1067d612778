/**
 * Alerts -> any HTTP receiver, signed by the Standard Webhooks specification 1.0:
 *
 *     webhook-id: <fingerprint>.<raised|withdrawn>      the same for every attempt
 *     webhook-timestamp: <seconds since 1970>
 *     webhook-signature: v1,<base64 of HMAC-SHA-256(secret, id "." timestamp "." body)>
 *
 * One request an alert, in order, tried again for hours with growing pauses. At least once: a
 * receiver drops repeats by their id.
 */
import { createHmac } from 'node:crypto';
import type { Alert } from '#schemas';
import { DeliveryError, postJson, type Sink, type SinkDeps } from './sink.ts';

export interface WebhookSettings {
  readonly url: string;
  /** `whsec_` and base64, or any other text taken as it is. */
  readonly secret: string;
  /** Requests that wait; beyond it the oldest are given up, counted and said. */
  readonly waitingMax: number;
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  /** How long one alert is tried. */
  readonly giveUpMs: number;
}

export const WEBHOOK_DEFAULTS = {
  waitingMax: 10_000,
  retryMsMin: 1_000,
  retryMsMax: 5 * 60_000,
  giveUpMs: 24 * 3_600_000,
} as const;

interface Waiting {
  readonly alert: Alert;
  readonly type: 'alert.raised' | 'alert.withdrawn';
  readonly sinceNs: bigint;
}

const SECRET_PREFIX = 'whsec_';

/** The key of a secret, by the specification. */
export const webhookKey = (secret: string): Buffer =>
  secret.startsWith(SECRET_PREFIX)
    ? Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64')
    : Buffer.from(secret, 'utf8');

/** The value of `webhook-signature`. */
export function webhookSignature(key: Uint8Array, id: string, seconds: string, body: string) {
  const mac = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  return `v1,${mac}`;
}

export function createWebhook(settings: WebhookSettings, deps: SinkDeps): Sink {
  const { clock, log, meter } = deps;
  const name = 'webhook';
  const key = webhookKey(settings.secret);
  const queue: Waiting[] = [];
  const abort = new AbortController();
  let wake = new AbortController();
  let running: Promise<void> | undefined;

  function take(alerts: readonly Alert[], type: Waiting['type']): void {
    const sinceNs = clock.monotonicNs();
    for (const alert of alerts) queue.push({ alert, type, sinceNs });
    const over = queue.length - settings.waitingMax;
    if (over > 0) giveUp(queue.splice(0, over), 'too many wait');
    wake.abort();
  }

  function giveUp(given: readonly Waiting[], why: string): void {
    meter.count('telltale.alerts.given_up', given.length, { sink: name });
    log.error('alert.given_up', { sink: name, alerts: given.length, reason: why });
  }

  async function send({ alert, type }: Waiting): Promise<void> {
    const id = `${alert.fingerprint}.${type}`;
    const wallNs = clock.wallNs();
    const timestamp = new Date(Number(wallNs / 1_000_000n)).toISOString();
    const data = { ...alert, timeline: deps.link(alert) };
    const body = JSON.stringify({ type, timestamp, data });
    const seconds = String(wallNs / 1_000_000_000n);
    const headers = {
      'webhook-id': id,
      'webhook-timestamp': seconds,
      'webhook-signature': webhookSignature(key, id, seconds, body),
    };
    await postJson(settings.url, body, headers, abort.signal);
    meter.count('telltale.alerts.delivered', 1, { sink: name });
    if (type === 'alert.raised') deps.delivered?.(name, [alert]);
  }

  /** Delivers the first that waits; the pause before the next attempt where it failed. */
  async function sendFirst(first: Waiting, attempt: number): Promise<number | undefined> {
    try {
      await send(first);
      if (attempt > 0) log.info('alert.delivery_resumed', { sink: name });
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      if (abort.signal.aborted) return 0;
      const tooLong = clock.monotonicNs() - first.sinceNs > BigInt(settings.giveUpMs) * 1_000_000n;
      if (error.permanent || tooLong) giveUp([first], error.message);
      else {
        if (attempt === 0) log.warn('alert.not_delivered', { sink: name, error: error.message });
        return Math.min(settings.retryMsMin * 2 ** Math.min(attempt, 20), settings.retryMsMax);
      }
    }
    // What waits may have been given up meanwhile, from the front.
    if (queue[0] === first) queue.shift();
    return undefined;
  }

  async function loop(): Promise<void> {
    let attempt = 0;
    while (!abort.signal.aborted) {
      wake = new AbortController();
      const first = queue[0];
      if (first === undefined) {
        await clock.sleep(60_000, AbortSignal.any([abort.signal, wake.signal])).catch(() => {});
        continue;
      }
      const pauseMs = await sendFirst(first, attempt);
      attempt = pauseMs === undefined ? 0 : attempt + 1;
      if (pauseMs !== undefined) await clock.sleep(pauseMs, abort.signal).catch(() => {});
    }
  }

  return {
    name,
    raise: (alerts) => take(alerts, 'alert.raised'),
    withdraw: (alerts) => take(alerts, 'alert.withdrawn'),
    async start() {
      running ??= loop();
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}
