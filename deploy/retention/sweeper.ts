/** Runs retention inside a service, again and again: an embedded store is one process's. */
import type { Clock, Log, Part, Store } from '#schemas';
import { type Policy, readPolicy } from './policy.ts';
import { planSweep, type SweepDeps, sweep } from './sweep.ts';

/** A service that starts has better things to do first. */
const FIRST_MS = 60_000;
const EVERY_MS = 24 * 3_600_000;

export interface SweeperOptions {
  readonly store: Store;
  readonly log: Log;
  readonly clock: Clock;
  /** Who it says that it is, in journal and tombstones. */
  readonly actor: string;
  readonly record: SweepDeps['record'];
  /** The policy's file; it is read again for each round. */
  readonly file: string;
  readonly firstMs?: number;
  readonly everyMs?: number;
}

/** Throws `PolicyError` now where the policy can't be read; later that is an error in the log. */
export function createSweeper(options: SweeperOptions): Part {
  const { log, file, firstMs = FIRST_MS, everyMs = EVERY_MS } = options;
  readPolicy(file);
  const abort = new AbortController();
  const { signal } = abort;
  let timer: NodeJS.Timeout | undefined;
  let round: Promise<void> = Promise.resolve();

  async function once(): Promise<void> {
    try {
      const policy: Policy = readPolicy(file);
      const plans = await planSweep(options, policy);
      const { removed, stripped } = await sweep(options, policy, plans, signal);
      const held = plans.reduce((sum, plan) => sum + plan.held.length, 0);
      log.info('retention.swept', { policy: policy.name, removed, stripped, held });
    } catch (error) {
      // What was begun is ended by the next round, and nothing went without its tombstone.
      if (!signal.aborted) log.error('retention.failed', { file, error: (error as Error).message });
    }
    if (!signal.aborted) plan(everyMs);
  }

  function plan(ms: number): void {
    timer = setTimeout(() => {
      round = once();
    }, ms);
    timer.unref();
  }

  return {
    start: async () => plan(firstMs),
    async stop() {
      abort.abort(new Error('the service stops'));
      clearTimeout(timer);
      await round;
    },
  };
}
