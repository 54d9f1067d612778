/** Plain fakes of the small ports: a log that keeps lines, a meter that adds up, a clock in hand. */
import { createHash } from 'node:crypto';
import type { Clock, Columns, Log, LogFields, Meter, Random, Row } from '#schemas';

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
  /** Sums of counters, last values of gauges, and how often a histogram was given something. */
  readonly counts: Map<string, number>;
}

export function fakeMeter(): FakeMeter {
  const counts = new Map<string, number>();
  return {
    counts,
    count: (name, by) => void counts.set(name, (counts.get(name) ?? 0) + by),
    gauge: (name, value) => void counts.set(name, value),
    record: (name) => void counts.set(name, (counts.get(name) ?? 0) + 1),
  };
}

export interface FakeClock extends Clock {
  advance(ms: number): void;
}

/** Time stands still but for `advance` and `sleep`, which returns at once and moves it on. */
export function fakeClock(startNs = 1_764_000_000_000_000_000n): FakeClock {
  let now = startNs;
  const repeated = new Set<{ everyNs: bigint; dueNs: bigint; work: () => void }>();
  const advance = (ms: number) => {
    now += BigInt(Math.round(ms * 1e6));
    for (const one of [...repeated])
      for (; repeated.has(one) && one.dueNs <= now; one.dueNs += one.everyNs) one.work();
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
    every: (ms, work) => {
      const everyNs = BigInt(Math.round(ms * 1e6));
      const one = { everyNs, dueNs: now + everyNs, work };
      repeated.add(one);
      return () => void repeated.delete(one);
    },
  };
}

/** Bytes that look random and are the same in each run: SHA-256 over the seed and a counter. */
export function fakeRandom(seed = 'telltale'): Random {
  let counter = 0;
  return {
    bytes: (count) => {
      const parts: Buffer[] = [];
      for (let left = count; left > 0; left -= 32)
        parts.push(createHash('sha256').update(`${seed}/${counter++}`).digest());
      return new Uint8Array(Buffer.concat(parts).subarray(0, count));
    },
  };
}

/** Rows as a store gives them by column. */
export const columnsOf = (rows: readonly Row[]): Columns =>
  Object.fromEntries(
    Object.keys(rows[0] ?? {}).map((name) => [name, rows.map((row) => row[name])]),
  );
