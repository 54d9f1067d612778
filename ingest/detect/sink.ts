/**
 * Where alerts go besides the table. A sink takes alerts at once and delivers them on its own, so
 * that a receiver that is away never holds up ingest; what it could not deliver it says.
 */
import type { Alert, Clock, Log, Meter, Part } from '#schemas';

export interface Sink extends Part {
  readonly name: string;
  /** A receiver that forgets has to be told again after a restart, so long after an alert was raised. */
  readonly repeatsMs?: number;
  /** How much of what was taken the receiver has not got yet. */
  readonly waiting?: number;
  /** Takes alerts for delivery. An alert that was taken before is not taken twice. */
  raise(alerts: readonly Alert[]): void;
  /** These do not hold any more. */
  withdraw(alerts: readonly Alert[]): void;
}

/** What a receiver was told of an alert. */
export type Told = 'raised' | 'withdrawn';

export interface SinkDeps {
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  /** A link into the timeline at the alert's first event. */
  readonly link: (alert: Alert) => string;
  /** Is told what a receiver has taken of alerts, so that a restart does not send it again. */
  readonly delivered?: (sink: string, alerts: readonly Alert[], what: Told) => void;
}

const ANSWER_MS_MAX = 10_000;
const ANSWER_CHARACTERS_MAX = 300;

/** A receiver did not take a delivery. `permanent`: the same request will always fail. */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  readonly permanent: boolean;
  constructor(message: string, permanent: boolean, options?: ErrorOptions) {
    super(message, options);
    this.permanent = permanent;
  }
}

/** 408 and 429 are "not now"; every other 4xx says that the request itself is at fault. */
const isPermanent = (status: number) =>
  status >= 400 && status < 500 && status !== 408 && status !== 429;

/** Posts JSON; resolves when the receiver answered 2xx, and rejects with `DeliveryError`. */
export async function postJson(
  url: string,
  body: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
      // A redirect would carry the signature and the alert to a place that nobody configured.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]),
    });
  } catch (cause) {
    throw new DeliveryError(`${url} did not answer`, false, { cause });
  }
  const text = (await response.text().catch(() => '')).slice(0, ANSWER_CHARACTERS_MAX);
  if (response.ok) return;
  throw new DeliveryError(
    `${url} answered ${response.status}: ${JSON.stringify(text)}`,
    isPermanent(response.status),
  );
}
