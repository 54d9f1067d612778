import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock, Random } from '#schemas';

/**
 * The machine's clock. Wall time is the time at process start plus monotonic time since, so that it
 * never jumps back within a process; it does not follow later corrections of the system clock.
 */
export function createClock(): Clock {
  const startMonotonic = process.hrtime.bigint();
  const startWall = BigInt(Date.now()) * 1_000_000n;
  return {
    wallNs: () => startWall + (process.hrtime.bigint() - startMonotonic),
    monotonicNs: () => process.hrtime.bigint(),
    sleep: async (ms, signal) => {
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    },
    every: (ms, work) => {
      const timer = setInterval(work, ms).unref();
      return () => clearInterval(timer);
    },
  };
}

export const systemRandom: Random = { bytes: (count) => randomBytes(count) };
