/**
 * Whether a service is alive and ready, as answers with a reason. *Ready* says that it can do its
 * work now; *live* fails only where a restart would help, because an orchestrator answers it with
 * one: a store that is away makes a service unready, never dead.
 */
import type { Clock, HealthCheck, Log, Meter } from '#schemas';

/** Why a check fails: a closed list, so that neither an answer nor a metric holds foreign words. */
export type HealthReason =
  | 'timeout'
  | 'unreachable'
  | 'unknown'
  | 'refused'
  | 'busy'
  | 'limit'
  | 'closed'
  | 'store_older'
  | 'store_differs'
  | 'not_joined'
  | 'not_polled'
  | 'not_started'
  | 'failing'
  | 'stuck'
  | 'not_writable'
  | 'full'
  | 'failed';

/** What a check found; undefined: all is well. */
export type Look = () => Promise<HealthReason | undefined>;

export interface Check {
  readonly name: HealthCheck;
  /** Which question it belongs to. */
  readonly of: 'ready' | 'live';
  readonly look: Look;
  /** How long an answer holds; more requests cost nothing. */
  readonly freshMs?: number;
}

export interface Answer {
  readonly status: 'pass' | 'fail';
  readonly reason?: HealthReason;
}

export interface Report {
  readonly status: 'pass' | 'fail';
  readonly service: string;
  readonly checks: Readonly<Partial<Record<HealthCheck, Answer>>>;
}

export interface Health {
  ready(): Promise<Report>;
  live(): Promise<Report>;
}

/** A check that has not answered by then fails with `timeout`. */
export const LOOK_MS_MAX = 5_000;
const FRESH_MS = 1_000;

interface HealthDeps {
  readonly service: string;
  readonly checks: readonly Check[];
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
}

/** Resolves to `timeout` where `look` takes too long; what it then does is nobody's business. */
async function inTime(look: Look, clock: Clock): Promise<HealthReason | undefined> {
  const done = new AbortController();
  const late = clock.sleep(LOOK_MS_MAX, done.signal).then(
    () => 'timeout' as const,
    () => undefined,
  );
  try {
    return await Promise.race([look(), late]);
  } finally {
    done.abort();
  }
}

/** One check that is looked at once for all who ask within `freshMs`. */
function createCached(check: Check, { clock, log, meter, service }: HealthDeps) {
  const freshNs = BigInt(check.freshMs ?? FRESH_MS) * 1_000_000n;
  let latest: { readonly atNs: bigint; readonly answer: Answer } | undefined;
  let running: Promise<Answer> | undefined;

  async function look(): Promise<Answer> {
    const reason = await inTime(check.look, clock).catch((error) => {
      log.error('health.check_failed', { check: check.name, error: String(error) });
      return 'failed' as const;
    });
    const answer: Answer = reason === undefined ? { status: 'pass' } : { status: 'fail', reason };
    if (answer.reason !== latest?.answer.reason)
      log[answer.status === 'pass' ? 'info' : 'warn']('health.changed', {
        ...{ service, check: check.name, of: check.of, status: answer.status },
        ...(reason === undefined ? {} : { reason }),
      });
    latest = { atNs: clock.monotonicNs(), answer };
    meter.gauge('telltale.health.check', reason === undefined ? 1 : 0, {
      check: check.name,
      probe: check.of,
    });
    return answer;
  }

  return async (): Promise<Answer> => {
    if (latest !== undefined && clock.monotonicNs() - latest.atNs < freshNs) return latest.answer;
    running ??= look().finally(() => {
      running = undefined;
    });
    return running;
  };
}

/** The health of a service out of its checks. A question without checks passes: it was answered. */
export function createHealth(deps: HealthDeps): Health {
  const cached = deps.checks.map((check) => ({ ...check, answer: createCached(check, deps) }));

  async function report(of: Check['of']): Promise<Report> {
    const mine = cached.filter((check) => check.of === of);
    const answers = await Promise.all(
      mine.map(async ({ name, answer }) => [name, await answer()] as const),
    );
    const good = answers.every(([, { status }]) => status === 'pass');
    return {
      status: good ? 'pass' : 'fail',
      service: deps.service,
      checks: Object.fromEntries(answers),
    };
  }

  return { ready: () => report('ready'), live: () => report('live') };
}
