/**
 * Alerts -> Alertmanager, by its API v2. An alert *fires* for a while after its last event; while
 * it fires it is posted again and again, because Alertmanager forgets what nobody repeats
 * (`resolve_timeout`, 5 minutes by default). Then, or when it is withdrawn, it is posted with
 * `endsAt` and so resolved. Equal labels are one alert there, so a repeated post doubles nothing.
 * Silences, routing and grouping are Alertmanager's own.
 */
import { type Alert, labelOf, SINK_NAMES } from '#schemas';
import { DeliveryError, postJson, type Sink, type SinkDeps, type Told } from './sink.ts';

export interface AlertmanagerSettings {
  /** Base URL, such as http://alertmanager:9093. */
  readonly url: string;
  /** How long an alert fires after it was raised. */
  readonly firingMs: number;
  /** Between two posts of a firing alert; well below Alertmanager's `resolve_timeout`. */
  readonly repostMs: number;
  /** Alerts that fire at once; the oldest are resolved early beyond it. */
  readonly firingMax: number;
}

export const ALERTMANAGER_DEFAULTS = {
  firingMs: 15 * 60_000,
  repostMs: 60_000,
  firingMax: 10_000,
} as const;

const POST_ALERTS_MAX = 500;
const RETRY_MS = 5_000;
const TEXT_CHARACTERS_MAX = 1_000;

interface Firing {
  readonly alert: Alert;
  readonly startedMs: number;
  endsMs: number;
  /** When it was last taken by Alertmanager; undefined: never. */
  postedMs?: number;
  posted?: 'firing' | 'resolved';
  /** It does not hold any more: it ends for that, and not because it is old. */
  withdrawn?: true;
}

const text = (value: string) => value.toWellFormed().slice(0, TEXT_CHARACTERS_MAX);

/** One alert in the words of Alertmanager's API v2 (`postableAlert`). */
export function postable(firing: Firing, nowMs: number, link: string) {
  const { alert } = firing;
  const over = nowMs >= firing.endsMs;
  return {
    labels: {
      alertname: text(alert.rule.title),
      rule_id: alert.rule.id,
      severity: alert.rule.level,
      tenant: text(alert.tenant),
      session_id: alert.session_id,
      fingerprint: alert.fingerprint,
    },
    annotations: {
      summary: text(alert.reason === '' ? alert.rule.title : alert.reason),
      events: text(alert.events.map(({ id }) => id).join(' ')),
      author: text(alert.rule.author),
      license: text(alert.rule.license),
      timeline: link,
    },
    generatorURL: link,
    startsAt: new Date(firing.startedMs).toISOString(),
    ...(over ? { endsAt: new Date(firing.endsMs).toISOString() } : {}),
  };
}

/** Keeps Alertmanager told of what fires. `stop` posts what is due and leaves the rest to expire. */
export function createAlertmanager(settings: AlertmanagerSettings, deps: SinkDeps): Sink {
  const { clock, log, meter } = deps;
  const name = 'alertmanager';
  const endpoint = new URL('api/v2/alerts', `${settings.url.replace(/\/+$/, '')}/`).href;
  const firing = new Map<string, Firing>();
  const abort = new AbortController();
  let wake = new AbortController();
  let running: Promise<void> | undefined;
  let failing = false;
  const nowMs = () => Number(clock.wallNs() / 1_000_000n);

  function raise(alerts: readonly Alert[]): void {
    const now = nowMs();
    for (const alert of alerts) {
      const known = firing.get(alert.fingerprint);
      if (known !== undefined && !known.withdrawn) continue;
      firing.set(alert.fingerprint, { alert, startedMs: now, endsMs: now + settings.firingMs });
    }
    for (const one of [...firing.values()].slice(0, Math.max(firing.size - settings.firingMax, 0)))
      one.endsMs = Math.min(one.endsMs, now);
    wake.abort();
  }

  function withdraw(alerts: readonly Alert[]): void {
    const now = nowMs();
    for (const alert of alerts) {
      // A worker that has just started does not know it, and Alertmanager may.
      const one: Firing = firing.get(alert.fingerprint) ?? { alert, startedMs: now, endsMs: now };
      one.endsMs = Math.min(one.endsMs, now);
      one.withdrawn = true;
      firing.set(alert.fingerprint, one);
    }
    wake.abort();
  }

  const isDue = (one: Firing, now: number): boolean =>
    one.postedMs === undefined ||
    now - one.postedMs >= settings.repostMs ||
    (now >= one.endsMs && one.posted !== 'resolved');

  async function post(batch: readonly Firing[], now: number): Promise<void> {
    const body = batch.map((one) => postable(one, now, deps.link(one.alert)));
    await postJson(endpoint, JSON.stringify(body), {}, abort.signal);
    const fresh = batch.filter((one) => one.posted === undefined && !one.withdrawn);
    const gone = batch.filter(({ withdrawn }) => withdrawn);
    for (const one of batch) {
      one.postedMs = now;
      one.posted = now >= one.endsMs ? 'resolved' : 'firing';
      if (one.posted === 'resolved') firing.delete(one.alert.fingerprint);
    }
    meter.count('telltale.alerts.delivered', fresh.length, { sink: labelOf(SINK_NAMES, name) });
    const tell = (some: readonly Firing[], what: Told) => {
      const alerts = some.map(({ alert }) => alert);
      if (alerts.length > 0) deps.delivered?.(name, alerts, what);
    };
    tell(fresh, 'raised');
    tell(gone, 'withdrawn');
  }

  /** Posts what is due; false when Alertmanager did not take it. */
  async function postDue(): Promise<boolean> {
    const now = nowMs();
    const due = [...firing.values()].filter((one) => isDue(one, now));
    for (let at = 0; at < due.length; at += POST_ALERTS_MAX) {
      const batch = due.slice(at, at + POST_ALERTS_MAX);
      try {
        await post(batch, now);
      } catch (error) {
        if (!(error instanceof DeliveryError)) throw error;
        if (error.permanent) {
          log.error('alert.refused', { sink: name, alerts: batch.length, error: error.message });
          meter.count('telltale.alerts.refused', batch.length, { sink: labelOf(SINK_NAMES, name) });
          for (const { alert } of batch) firing.delete(alert.fingerprint);
          continue;
        }
        if (!failing) log.warn('alert.not_delivered', { sink: name, error: error.message });
        failing = true;
        return false;
      }
    }
    if (failing) log.info('alert.delivery_resumed', { sink: labelOf(SINK_NAMES, name) });
    failing = false;
    return true;
  }

  function nextMs(now: number): number {
    let next = settings.repostMs;
    for (const one of firing.values())
      next = Math.min(next, one.endsMs - now, (one.postedMs ?? now) + settings.repostMs - now);
    return Math.max(next, 1);
  }

  async function loop(): Promise<void> {
    while (!abort.signal.aborted) {
      wake = new AbortController();
      const taken = await postDue();
      const signal = AbortSignal.any(taken ? [abort.signal, wake.signal] : [abort.signal]);
      await clock.sleep(taken ? nextMs(nowMs()) : RETRY_MS, signal).catch(() => {});
    }
  }

  return {
    name,
    repeatsMs: settings.firingMs,
    get waiting() {
      const now = nowMs();
      return [...firing.values()].filter((one) => isDue(one, now)).length;
    },
    raise,
    withdraw,
    async start() {
      running ??= loop();
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}
