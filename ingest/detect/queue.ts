/**
 * Delivery one by one, in order, for as long as it takes: what sinks that send each alert on its own
 * have in common. A receiver that is away is tried again with growing pauses; how many wait, and how
 * long one is tried, is bounded, and what is given up is counted and said.
 */
import { type Alert, labelOf, SINK_NAMES } from '#schemas';
import { DeliveryError, type Sink, type SinkDeps, type Told } from './sink.ts';

export interface QueueSettings {
  /** Alerts that wait; beyond it the oldest are given up, counted and said. */
  readonly waitingMax: number;
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  /** How long one alert is tried. */
  readonly giveUpMs: number;
}

export const QUEUE_DEFAULTS: QueueSettings = {
  waitingMax: 10_000,
  retryMsMin: 1_000,
  retryMsMax: 5 * 60_000,
  giveUpMs: 24 * 3_600_000,
};

/** What is told of an alert. */
export type NoticeType = 'alert.raised' | 'alert.withdrawn';

const TOLD: Readonly<Record<NoticeType, Told>> = {
  'alert.raised': 'raised',
  'alert.withdrawn': 'withdrawn',
};

export interface Notice {
  readonly alert: Alert;
  readonly type: NoticeType;
}

/**
 * A notice as receivers get it. Together `data.fingerprint` and `type` name it: a repeat has the
 * same ones.
 */
export function noticeBody({ alert, type }: Notice, { clock, link }: SinkDeps): string {
  const timestamp = new Date(Number(clock.wallNs() / 1_000_000n)).toISOString();
  return JSON.stringify({ type, timestamp, data: { ...alert, timeline: link(alert) } });
}

interface Waiting extends Notice {
  readonly sinceNs: bigint;
}

/**
 * A sink that gives its notices to `send` one after the other. `send` rejects with `DeliveryError`;
 * it is called again for the same notice until it resolves, the error is permanent, or too long has
 * passed. `close` is called when no `send` is under way any more.
 */
export function createQueue(
  name: string,
  send: (notice: Notice, signal: AbortSignal) => Promise<void>,
  settings: QueueSettings,
  deps: SinkDeps,
  close: () => Promise<void> = async () => {},
): Sink {
  const { clock, log, meter } = deps;
  const queue: Waiting[] = [];
  const abort = new AbortController();
  let wake = new AbortController();
  let running: Promise<void> | undefined;
  let sending = false;

  function take(alerts: readonly Alert[], type: NoticeType): void {
    const sinceNs = clock.monotonicNs();
    for (const alert of alerts) queue.push({ alert, type, sinceNs });
    const over = queue.length - settings.waitingMax;
    // One that is on its way may still arrive, so it is not given up here.
    if (over > 0) giveUp(queue.splice(sending ? 1 : 0, over), 'too many wait');
    wake.abort();
  }

  function giveUp(given: readonly Waiting[], why: string): void {
    if (given.length === 0) return;
    meter.count('telltale.alerts.given_up', given.length, { sink: labelOf(SINK_NAMES, name) });
    log.error('alert.given_up', { sink: name, alerts: given.length, reason: why });
  }

  /** Delivers the first that waits; the pause before the next attempt where it failed. */
  async function sendFirst(first: Waiting, attempt: number): Promise<number | undefined> {
    sending = true;
    try {
      await send(first, abort.signal);
      if (attempt > 0) log.info('alert.delivery_resumed', { sink: labelOf(SINK_NAMES, name) });
      meter.count('telltale.alerts.delivered', 1, { sink: labelOf(SINK_NAMES, name) });
      deps.delivered?.(name, [first.alert], TOLD[first.type]);
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      if (abort.signal.aborted) return 0;
      const tooLong = clock.monotonicNs() - first.sinceNs > BigInt(settings.giveUpMs) * 1_000_000n;
      if (error.permanent || tooLong) giveUp([first], error.message);
      else {
        if (attempt === 0) log.warn('alert.not_delivered', { sink: name, error: error.message });
        return Math.min(settings.retryMsMin * 2 ** Math.min(attempt, 20), settings.retryMsMax);
      }
    } finally {
      sending = false;
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
    get waiting() {
      return queue.length;
    },
    raise: (alerts) => take(alerts, 'alert.raised'),
    withdraw: (alerts) => take(alerts, 'alert.withdrawn'),
    async start() {
      running ??= loop();
    },
    async stop() {
      abort.abort();
      await running;
      running = undefined;
      await close();
    },
  };
}
