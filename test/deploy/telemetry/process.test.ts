import { performance } from 'node:perf_hooks';
import { expect, it } from 'vitest';
import type { Meter } from '#schemas';
import { watchProcess } from '../../../deploy/telemetry/process.ts';

it('says what the process takes, and how late its event loop was since the last look', async () => {
  const said = new Map<string, number>();
  let cpu = 0;
  const meter = {
    gauge: (name: string, value: number) => said.set(name, value),
    count: (name: string, by: number) => {
      expect([name, by >= 0]).toEqual(['process.cpu.time', true]);
      cpu += by;
    },
  } as unknown as Meter;
  const watch = watchProcess(meter, 1e6);
  expect(said.get('process.memory.usage')).toBeGreaterThan(20e6);
  expect(said.get('process.unix.file_descriptor.count')).toBeGreaterThan(2);
  expect(said.get('process.uptime')).toBeGreaterThan(0);
  const before = cpu;
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (const end = performance.now() + 200; performance.now() < end; );
  await new Promise((resolve) => setTimeout(resolve, 30));
  watch.look();
  expect(cpu - before).toBeGreaterThan(0.02);
  expect(said.get('nodejs.eventloop.delay.max')).toBeGreaterThan(0.1);
  expect(said.get('nodejs.eventloop.delay.p50')).toBeLessThan(0.1);
  expect(said.get('nodejs.eventloop.utilization')).toBeGreaterThan(0.3);
  watch.stop();
});
