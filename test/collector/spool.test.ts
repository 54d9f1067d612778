import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemDisk } from '../../collector/disk.ts';
import {
  abandonedStreams,
  adoptSpool,
  createSpool,
  SPOOL_DEFAULTS,
  type Spool,
} from '../../collector/spool.ts';
import { createStamper, type StampedEvent } from '../../collector/stamp.ts';
import { fakeClock, fakeLog, fakeRandom } from '../fakes/ports.ts';
import { fileDraft, identity } from './drafts.ts';

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-spool-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

const settings = () => ({ ...SPOOL_DEFAULTS, dir });
const events = (count: number): StampedEvent[] => {
  const stamper = createStamper(identity, fakeClock(), fakeRandom());
  return Array.from({ length: count }, (_, i) => stamper.stamp(fileDraft(`/srv/file-${i}`)));
};
const deps = (log = fakeLog()) => ({ disk: systemDisk, clock: fakeClock(), log });
/** Of a process that is not there any more. */
const deadDeps = (log = fakeLog()) => ({ ...deps(log), pid: 0 });
const streamDir = () => path.join(dir, identity.stream_id);

describe('spool', () => {
  it('gives back what was appended, in order, until it is released', () => {
    const spool = createSpool(identity, settings(), deps());
    const all = events(10);
    expect(spool.append(all.slice(0, 6))).toBe(true);
    expect(spool.append(all.slice(6))).toBe(true);
    const lines = spool.peek(1_000_000);
    expect(lines.map((line) => line.bytes.toString())).toEqual(all.map((e) => e.bytes.toString()));
    spool.release(4);
    expect(spool.peek(1).map((line) => line.seq)).toEqual([4]);
    expect(spool.pending).toBe(6);
    spool.release(10);
    expect(spool.peek(1_000_000)).toEqual([]);
    spool.close({ finished: true });
    expect(fs.existsSync(streamDir())).toBe(false);
  });

  it('rolls segments and forgets released ones', () => {
    const spool = createSpool(identity, { ...settings(), segmentBytes: 1000 }, deps());
    for (const event of events(40)) spool.append([event]);
    const logs = () => fs.readdirSync(streamDir()).filter((name) => name.endsWith('.log')).length;
    expect(logs()).toBeGreaterThan(5);
    const seen: number[] = [];
    for (let lines = spool.peek(700); lines.length > 0; lines = spool.peek(700)) {
      seen.push(...lines.map((line) => line.seq));
      spool.release((lines.at(-1) as { seq: number }).seq + 1);
    }
    expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(logs()).toBe(1);
    spool.close({ finished: true });
  });

  it('is full at its bound, takes what has its number all the same, and has room again', () => {
    const all = events(20);
    const size = all.slice(0, 10).reduce((sum, event) => sum + event.bytes.length + 10, 0);
    const spool = createSpool(identity, { ...settings(), bytesMax: size }, deps());
    expect(spool.append(all.slice(0, 9))).toBe(true);
    expect(spool.isFull).toBe(false);
    expect(spool.append(all.slice(9))).toBe(true);
    expect(spool.isFull).toBe(true);
    spool.release(12);
    expect(spool.isFull).toBe(false);
    expect(spool.peek(1_000_000).map((line) => line.seq)[0]).toBe(12);
    spool.close({ finished: false });
  });

  it('is taken over whole by the next collector after SIGKILL', () => {
    const script = `
      import { systemDisk } from ${JSON.stringify(path.resolve('collector/disk.ts'))};
      import { createSpool, SPOOL_DEFAULTS } from ${JSON.stringify(path.resolve('collector/spool.ts'))};
      import { createStamper } from ${JSON.stringify(path.resolve('collector/stamp.ts'))};
      import { fakeClock, fakeLog, fakeRandom } from ${JSON.stringify(path.resolve('test/fakes/ports.ts'))};
      import { fileDraft, identity } from ${JSON.stringify(path.resolve('test/collector/drafts.ts'))};
      const spool = createSpool(identity, { ...SPOOL_DEFAULTS, dir: ${JSON.stringify(dir)} },
        { disk: systemDisk, clock: fakeClock(), log: fakeLog() });
      const stamper = createStamper(identity, fakeClock(), fakeRandom());
      for (let i = 0; i < 100; i++) spool.append([stamper.stamp(fileDraft('/f' + i))]);
      spool.release(30);
      process.kill(process.pid, 'SIGKILL');`;
    const file = path.join(dir, 'child.ts');
    fs.writeFileSync(file, script);
    const args = ['--conditions=telltale-source', '--import', 'tsx', file];
    expect(spawnSync(process.execPath, args, { stdio: 'inherit' }).signal).toBe('SIGKILL');
    expect(abandonedStreams(dir, systemDisk)).toEqual([streamDir()]);
    const spool = adoptSpool(streamDir(), settings(), deps()) as Spool;
    expect(spool.identity).toEqual(identity);
    expect(spool.pending).toBe(70);
    const lines = spool.peek(10_000_000);
    expect(lines.map((line) => line.seq)).toEqual(Array.from({ length: 70 }, (_, i) => i + 30));
    spool.close({ finished: false });
  });

  it('does not take over a stream whose collector lives', () => {
    const spool = createSpool(identity, settings(), deps());
    expect(abandonedStreams(dir, systemDisk)).toEqual([]);
    spool.close({ finished: false });
  });

  it('cuts off a torn record and says so', () => {
    const spool = createSpool(identity, settings(), deadDeps());
    spool.append(events(5));
    spool.close({ finished: false });
    const file = path.join(streamDir(), '0000000000.log');
    const whole = fs.readFileSync(file);
    for (const cut of [1, 5, 40]) {
      fs.writeFileSync(file, whole.subarray(0, whole.length - cut));
      const log = fakeLog();
      const again = adoptSpool(streamDir(), settings(), deadDeps(log)) as Spool;
      expect(again.pending).toBe(4);
      expect(log.lines.map((line) => line.event)).toEqual(['spool.torn_tail']);
      again.close({ finished: false });
    }
  });

  it('takes nothing on a full disk, and loses nothing that it took', (context) => {
    const mount = path.join(dir, 'small');
    fs.mkdirSync(mount);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount]);
    if (mounted.status !== 0) context.skip('no small file system could be mounted (not root?)');
    try {
      const log = fakeLog();
      const spool = createSpool(identity, { ...settings(), dir: mount }, deps(log));
      const all = events(400);
      let taken = 0;
      while (taken < all.length && spool.append(all.slice(taken, taken + 10))) taken += 10;
      expect(taken).toBeLessThan(400);
      expect(log.lines.at(-1)?.event).toBe('spool.disk_full');
      expect(spool.peek(10_000_000).length).toBe(taken);
      spool.close({ finished: false });
    } finally {
      execFileSync('umount', ['-l', mount]);
    }
  });
});
