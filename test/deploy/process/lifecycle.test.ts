import { describe, expect, it } from 'vitest';
import type { Part } from '#schemas';
import { createClock } from '../../../deploy/process/clock.ts';
import { uuidv7 } from '../../../deploy/process/ids.ts';
import { runParts } from '../../../deploy/process/lifecycle.ts';
import { fakeLog } from '../../fakes/ports.ts';

function part(name: string, happened: string[], startFault?: Error): Part {
  return {
    async start() {
      happened.push(`start ${name}`);
      if (startFault !== undefined) throw startFault;
    },
    async stop() {
      happened.push(`stop ${name}`);
    },
  };
}

describe('runParts', () => {
  it('stops in reverse order on a signal, and takes a doubled signal for one', async () => {
    const happened: string[] = [];
    const running = runParts([part('a', happened), part('b', happened)], fakeLog());
    await new Promise((resolve) => setImmediate(resolve));
    process.emit('SIGTERM');
    process.emit('SIGTERM');
    await running;
    expect(happened).toEqual(['start a', 'start b', 'stop b', 'stop a']);
  });

  it('stops what had started, and the one that failed, when a start fails', async () => {
    const happened: string[] = [];
    const parts = [part('a', happened), part('b', happened, new Error('no port'))];
    await expect(runParts(parts, fakeLog())).rejects.toThrow('no port');
    expect(happened).toEqual(['start a', 'start b', 'stop b', 'stop a']);
  });

  it('ends when a part fails while it runs', async () => {
    const happened: string[] = [];
    const failed = Promise.reject(new Error('lost'));
    await expect(runParts([part('a', happened)], fakeLog(), failed)).rejects.toThrow('lost');
    expect(happened).toEqual(['start a', 'stop a']);
  });

  it('does not wait for ever for a part that does not stop', async () => {
    const log = fakeLog();
    const stuck: Part = { start: async () => {}, stop: () => new Promise(() => {}) };
    await expect(runParts([stuck], log, Promise.reject(new Error('lost')), 20)).rejects.toThrow(
      'lost',
    );
    expect(log.lines.some((line) => JSON.stringify(line).includes('process.stop_timeout'))).toBe(
      true,
    );
  });
});

describe('what processes are given', () => {
  it('a clock whose wall time follows the monotonic one', async () => {
    const clock = createClock();
    const before = clock.wallNs();
    await clock.sleep(5);
    expect(Number(clock.wallNs() - before)).toBeGreaterThanOrEqual(4e6);
    expect(Math.abs(Number(clock.wallNs() / 1_000_000n) - Date.now())).toBeLessThan(5_000);
  });

  it('ids that are UUIDv7 and sort by time', () => {
    const ids = [1_000, 2_000, 3_000_000].map((ms) => uuidv7(ms));
    expect([...ids].sort()).toEqual(ids);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});
