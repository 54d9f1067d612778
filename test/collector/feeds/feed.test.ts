/** A feed as a rung, with a stand-in for the host's sensor that looks for the marks in /proc. */
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Draft, DraftOf } from '#schemas';
import { FALCO } from '../../../collector/feeds/falco.ts';
import { createFeed } from '../../../collector/feeds/feed.ts';
import type { FeedPlace } from '../../../collector/feeds/source.ts';
import { createLadder } from '../../../collector/sensors/ladder.ts';
import { feedOf } from '../../../deploy/feed.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { fakeLog, fakeRandom } from '../../fakes/ports.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-feed-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

const alert = (pid: number, ppid: number, fields: object) =>
  `${JSON.stringify({
    ...{ rule: 'Telltale', source: 'syscall', time: new Date().toISOString() },
    output_fields: { 'proc.pid': pid, 'proc.ppid': ppid, ...fields },
  })}\n`;

const SEED = 'feed';
/** The mark of the command; the probe's goes before it. */
const [, MARK] = [fakeRandom(SEED)].flatMap((random) =>
  [1, 2].map(() => `telltale-${Buffer.from(random.bytes(12)).toString('hex')}`),
);
/** By this it is found: its mark stands in its arguments for a millisecond only. */
const NAME = 'stand-in-command';

/** Writes what Falco with our rules would, of processes with a mark; more of the probe on demand. */
function standIn(write: (lines: string) => void, shows = { probe: true, whole: true }) {
  const seen = new Map<number, boolean>();
  const look = () => {
    for (const name of fs.readdirSync('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || seen.has(pid)) continue;
      let argv: string[] = [];
      try {
        argv = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
      } catch {}
      const probe = argv.some((part) => part.startsWith('telltale-')) && argv.includes('/dev/null');
      // What it forks has its arguments too, until it runs a program of its own.
      const command = argv[3] === NAME && ![...seen.values()].includes(false);
      if (!probe && !command) continue;
      const line = probe ? argv.join(' ') : `sh -c exec "$@" ${MARK} ${argv.join(' ')}`;
      seen.set(pid, probe);
      if (probe && !shows.probe) continue;
      write(
        alert(1, 0, { 'evt.type': 'execve', 'proc.exepath': '/sbin/init', 'proc.cmdline': 'init' }),
      );
      write(
        alert(pid, 1, {
          'evt.type': 'execve',
          'proc.exepath': argv[0],
          'proc.cmdline': line,
        }),
      );
      if (!probe) write('no json at all\n');
      if (probe && shows.whole) {
        write(
          alert(pid, 1, {
            'evt.type': 'openat',
            'fd.name': '/dev/null',
            'evt.arg.flags': 'O_WRONLY',
          }),
        );
        write(alert(pid, 1, { 'evt.type': 'connect', 'fd.rip': '127.0.0.1', 'fd.rport': 9 }));
      }
    }
    for (const [pid, probe] of seen)
      if (pid > 0 && !fs.existsSync(`/proc/${pid}`)) {
        seen.delete(pid);
        seen.set(-pid, probe);
        if (!probe || shows.probe)
          write(alert(pid, 1, { 'evt.type': 'procexit', 'evt.arg.ret': probe ? 3 : 7 }));
      }
  };
  const timer = setInterval(look, 4);
  return () => clearInterval(timer);
}

async function recordUnder(place: FeedPlace, during: () => void = () => {}, probeMsMax = 5000) {
  const drafts: Draft[] = [];
  const [log, clock] = [fakeLog(), createClock()];
  const settings = { probeMsMax, settleMsMax: 1500 };
  const ports = { log, clock, random: fakeRandom(SEED) };
  const feed = createFeed({ ...ports, format: FALCO, place, joinKeys: [], settings });
  const ladder = createLadder({ log, clock, feed, joinKeys: [] });
  const env = { PATH: process.env.PATH ?? '' };
  const command = { argv: ['sh', '-c', 'sleep 0.3; exit 7', NAME], env, cwd: dir };
  const running = await ladder.run(command, (some) => void drafts.push(...some));
  during();
  const exited = await running.exited;
  await running.stop();
  const kind = <K extends Draft['kind']>(name: K) =>
    drafts.filter((draft): draft is DraftOf<K> & Draft => draft.kind === name);
  return { exited, drafts, sensors: kind('sensor'), gaps: kind('gap'), kind };
}

describe('a feed', () => {
  it('from a file: probe, command, end; what it can’t read is counted', async () => {
    const file = path.join(dir, 'falco.json');
    fs.writeFileSync(file, alert(1, 0, { 'evt.type': 'execve', 'proc.cmdline': 'before' }));
    const end = standIn((lines) => fs.appendFileSync(file, lines));
    const { exited, sensors, gaps, kind } = await recordUnder({ from: 'file', path: file });
    end();
    expect(exited).toEqual({ code: 7, signal: null });
    expect(sensors).toMatchObject([
      { sensor_name: 'falco', sensor_rung: 3, coverage: 'complete', reason: 'probe seen whole' },
    ]);
    expect(kind('exec')).toMatchObject([{ source: 'falco', assurance: 'observed' }]);
    expect(kind('exec')[0]?.argv).toContain(MARK);
    expect(kind('exit')).toMatchObject([{ exit_code: 7 }]);
    expect(gaps).toMatchObject([{ gap_reason: 'channel_lost', gap_count: 1 }]);
  });

  it('that shows half of the probe is partial, and says what of it', async () => {
    const file = path.join(dir, 'half.json');
    fs.writeFileSync(file, '');
    const end = standIn((lines) => fs.appendFileSync(file, lines), { probe: true, whole: false });
    const { sensors } = await recordUnder({ from: 'file', path: file });
    end();
    expect(sensors).toMatchObject([
      { coverage: 'partial', reason: 'of the probe was not seen: a written file, a connection' },
    ]);
  });

  it('that shows nothing is refused, and the next rung is taken', async () => {
    const file = path.join(dir, 'silent.json');
    fs.writeFileSync(file, '');
    const { sensors, exited } = await recordUnder({ from: 'file', path: file }, undefined, 300);
    expect(exited.code).toBe(7);
    expect(sensors[0]).toMatchObject({ sensor_name: 'falco', sensor_rung: 3, coverage: 'none' });
    expect(sensors[0]?.reason).toContain('nothing of the probe');
    expect(sensors.at(-1)).toMatchObject({ sensor_name: 'seccomp', coverage: 'complete' });
  });

  it('over a socket that breaks off is a gap', async () => {
    const place = { from: 'unix', path: path.join(dir, 'feed.sock') } as const;
    let socket: net.Socket | undefined;
    const connect = setInterval(() => {
      if (socket === undefined && fs.existsSync(place.path))
        socket = net.connect(place.path).on('error', () => {});
    }, 5);
    const end = standIn((lines) => void socket?.write(lines));
    const { gaps, sensors } = await recordUnder(place, () => setTimeout(() => socket?.end(), 100));
    clearInterval(connect);
    end();
    expect(gaps[0]).toMatchObject({ gap_reason: 'sensor_lost' });
    expect(sensors.at(-1)).toMatchObject({ coverage: 'none', sensor_name: 'falco' });
  });

  it('that lost events says so', async () => {
    const file = path.join(dir, 'drops.json');
    fs.writeFileSync(file, '');
    const end = standIn((lines) => fs.appendFileSync(file, lines));
    const rule = 'Falco internal: syscall event drop';
    const line = { rule, time: '2025-05-07T12:50:34.5Z', output_fields: { n_drops: '9' } };
    const { gaps } = await recordUnder({ from: 'file', path: file }, () =>
      fs.appendFileSync(file, `${JSON.stringify(line)}\n`),
    );
    end();
    expect(gaps[0]).toMatchObject({ gap_reason: 'sensor_overrun', attrs: { host_events: '9' } });
    expect(gaps[0]).not.toHaveProperty('gap_count');
  });
});

describe('--feed', () => {
  it.each([
    ['falco:/var/log/falco.json', 'falco', { from: 'file', path: '/var/log/falco.json' }],
    ['tetragon:unix:/run/t.sock', 'tetragon', { from: 'unix', path: '/run/t.sock' }],
    ['falco:-', 'falco', { from: 'stdin' }],
  ])('%s', (text, source, place) => {
    expect(feedOf(text)).toMatchObject({ format: { source }, place });
  });
  it.each(['', 'falco', 'falco:', 'gvisor:x', 'constructor:x'])('%j is refused', (text) =>
    expect(() => feedOf(text)).toThrow(/--feed/),
  );
});
