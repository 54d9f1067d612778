/** Plain fakes of the small ports: a log that keeps lines, a meter that adds up, a clock in hand. */
import type { Clock, Log, LogFields, Meter } from '#schemas';

export interface FakeLog extends Log {
  readonly lines: { level: string; event: string; fields: LogFields }[];
}

export function fakeLog(): FakeLog {
  const lines: FakeLog['lines'] = [];
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}) =>
      void lines.push({ level, event, fields });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface FakeMeter extends Meter {
  readonly counts: Map<string, number>;
}

export function fakeMeter(): FakeMeter {
  const counts = new Map<string, number>();
  return {
    counts,
    count: (name, by) => void counts.set(name, (counts.get(name) ?? 0) + by),
    gauge: (name, value) => void counts.set(name, value),
  };
}

export interface FakeClock extends Clock {
  advance(ms: number): void;
}

/**
 * Time stands still but for `advance` and `sleep`, which returns at once and moves it on. What is
 * to be done `every` so often never is.
 */
export function fakeClock(startNs = 1_764_000_000_000_000_000n): FakeClock {
  let now = startNs;
  const advance = (ms: number) => {
    now += BigInt(Math.round(ms * 1e6));
  };
  return {
    advance,
    wallNs: () => {
      now += 1n;
      return now;
    },
    monotonicNs: () => now,
    sleep: async (ms) => {
      advance(ms);
      await new Promise((resolve) => setImmediate(resolve));
    },
    every: () => () => {},
  };
}
