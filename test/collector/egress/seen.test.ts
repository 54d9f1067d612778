/** How long a decision waits for the kernel sensor's word on who asked. */
import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { descends } from '../../../collector/egress/peer.ts';
import { createSeen } from '../../../collector/egress/seen.ts';
import { createClock } from '../../../deploy/process/clock.ts';

const PROXY = { ip: '127.0.0.1', port: 3128 };
const seenHere = () => {
  const seen = createSeen({
    clock: createClock(),
    ours: (ip, port) => (ip === PROXY.ip && port === PROXY.port ? 'proxy' : undefined),
    direct: () => {},
  });
  // The sensor is at work: it has told of somebody else.
  seen.observe([{ kind: 'exec', pid: 10, tool_call_id: 'call' } as unknown as Draft]);
  return seen;
};
const connect = (pid: number) =>
  ({
    ...{ kind: 'net', pid, net_op: 'connect', net_ip: PROXY.ip, net_port: PROXY.port },
    ...{ net_transport: 'tcp', tool_call_id: 'call', attribution: 'ancestry' },
  }) as unknown as Draft;
const elapsed = async (work: Promise<unknown>) => {
  const began = performance.now();
  await work;
  return performance.now() - began;
};

describe('who asked', () => {
  it('waits for the word on a process of the session', async () => {
    const seen = seenHere();
    const asked = seen.askerOf({ pid: 11, shared: false });
    setTimeout(() => seen.observe([connect(11)]), 60);
    expect(await elapsed(asked)).toBeGreaterThan(40);
    expect(await asked).toMatchObject({ pid: 11, tool_call_id: 'call', foundBy: 'socket' });
  });

  it('tells at once who is outside of the session', async () => {
    const asked = seenHere().askerOf({ pid: 12, shared: false, outside: true });
    expect(await elapsed(asked)).toBeLessThan(1000);
    expect(await asked).toEqual({ pid: 12, foundBy: 'socket' });
  });

  it('waits no more when the sensor is over', async () => {
    const seen = seenHere();
    const asked = seen.askerOf({ pid: 13, shared: false });
    setTimeout(seen.over, 30);
    expect(await elapsed(asked)).toBeLessThan(1000);
  });
});

describe('who descends from whom', () => {
  it('finds children and grandchildren below us, and nobody above', async () => {
    const child = spawn('/bin/sh', ['-c', 'sleep 5 & echo $!; wait'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = await new Promise<string[]>((resolve) =>
      child.stdout.once('data', (text: Buffer) => resolve(String(text).trim().split('\n'))),
    );
    const grandchild = Number(line);
    try {
      expect(descends('/proc', child.pid ?? 0, process.pid)).toBe(true);
      expect(descends('/proc', grandchild, process.pid)).toBe(true);
      expect(descends('/proc', process.pid, grandchild)).toBe(false);
      expect(descends('/proc', 1, process.pid)).toBe(false);
      expect(descends('/nowhere', 7, process.pid)).toBe(true);
    } finally {
      process.kill(grandchild);
      child.kill();
    }
  });
});
