/**
 * Alerts -> any HTTP receiver, signed by the Standard Webhooks specification 1.0:
 *
 *     webhook-id: <fingerprint>.<alert.raised|alert.withdrawn>  the same for every attempt
 *     webhook-timestamp: <seconds since 1970>
 *     webhook-signature: v1,<base64 of HMAC-SHA-256(secret, id "." timestamp "." body)>
 *
 * One request an alert, in order, tried again for hours with growing pauses. At least once: a
 * receiver drops repeats by their id.
 */
import { createHmac } from 'node:crypto';
import { createQueue, noticeBody, QUEUE_DEFAULTS, type QueueSettings } from './queue.ts';
import { postJson, type Sink, type SinkDeps } from './sink.ts';

export interface WebhookSettings extends QueueSettings {
  readonly url: string;
  /** `whsec_` and base64, or any other text taken as it is. */
  readonly secret: string;
}

export const WEBHOOK_DEFAULTS = QUEUE_DEFAULTS;

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
  const key = webhookKey(settings.secret);
  return createQueue(
    'webhook',
    async (notice, signal) => {
      const id = `${notice.alert.fingerprint}.${notice.type}`;
      const body = noticeBody(notice, deps);
      const seconds = String(deps.clock.wallNs() / 1_000_000_000n);
      const headers = {
        'webhook-id': id,
        'webhook-timestamp': seconds,
        'webhook-signature': webhookSignature(key, id, seconds, body),
      };
      await postJson(settings.url, body, headers, signal);
    },
    settings,
    deps,
  );
}
