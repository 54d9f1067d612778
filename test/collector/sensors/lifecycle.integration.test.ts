/** Real kernel: how a run begins and ends, under pressure, under attack, and with a dead sensor. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createSeccompSensor, SensorError } from '../../../collector/sensors/seccomp.ts';
import { SYS } from '../../../collector/sensors/syscalls.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { call64, openBy32Bit, writeElf } from './elf.ts';
import { BASE_ENV, FORMS, here, scratchDir } from './recorder.ts';

const ENOSYS = 38;

/** Parent of a living process. */
function parentOf(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** The supervisor of a command: a child of the keeper that is named as it is, and no command. */
function supervisorOf(main: number): number {
  for (let keeper = parentOf(main); keeper > 1; keeper = parentOf(keeper)) {
    if (parentOf(keeper) !== process.pid) continue;
    const children = fs.readFileSync(`/proc/${keeper}/task/${keeper}/children`, 'latin1');
    const supervisor = children
      .trim()
      .split(' ')
      .find((pid) => fs.readFileSync(`/proc/${pid}/comm`, 'latin1') === 'telltale-sensor\n');
    if (supervisor !== undefined) return Number(supervisor);
  }
  throw new Error('no supervisor');
}

/** Resolves when `ready` holds; throws after 10 s. */
async function until(ready: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (ready()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('waited in vain');
}

describe.skipIf(!here).each(FORMS)('a run, %s', (form, recordRun) => {
  const dir = here ? scratchDir() : '';
  afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
  const at = (name: string) => path.join(dir, name);
  it('begins with the verdict of the self-check', async () => {
    const got = await recordRun(['/bin/true']);
    expect(got.drafts[0]).toMatchObject({
      kind: 'sensor',
      sensor_name: 'seccomp',
      sensor_rung: 1,
      coverage: 'complete',
    });
    expect(got.drafts.map((d) => d.kind)).toEqual(['sensor', 'exec', 'exit']);
    expect(got.log.lines).toEqual([]);
    const age = Date.now() - Number(got.drafts[1]?.ts) / 1e6;
    expect(age).toBeGreaterThan(0);
    expect(age).toBeLessThan(10_000);
    // The age of the command, not that of the launcher that it was.
    expect(got.of('exit')[0]?.duration_ns).toBeLessThan(200e6);
  });

  it('gives the command its own stdio, signals, environment and directory', async () => {
    const out = at('facts');
    const script = `pwd > ${out}; env | sort >> ${out}; trap > ${out}.traps; grep SigIgn /proc/self/status >> ${out}`;
    await recordRun(['sh', '-c', script], { cwd: dir, env: { ...BASE_ENV, X: 'y' } });
    const text = fs.readFileSync(out, 'utf8');
    expect(text).toContain(`${dir}\n`);
    expect(text).toContain('X=y\n');
    expect(text).not.toMatch(/NODE|TELLTALE/);
    // Signal 32 is glibc's own; its posix_spawn(3) leaves it ignored, as in any other child of it.
    expect(text).toMatch(/SigIgn:\t0{8}[08]0{7}\n/);
  });

  it('hands signals to the command', async () => {
    const script = `trap 'exit 5' TERM; echo > ${at('ready')}; while :; do sleep 0.05; done`;
    const got = await recordRun(['sh', '-c', script], {
      async during(running) {
        await until(() => fs.existsSync(at('ready')));
        running.signal('SIGTERM');
      },
    });
    expect(got.exit).toEqual({ code: 5, signal: null });
    const killed = await recordRun(['sleep', '60'], {
      during: (running) => running.signal('SIGKILL'),
    });
    expect(killed.exit).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('names what still runs when it is stopped, and lets it go on', async () => {
    const script = `(sleep 0.5; echo x > ${at('after')}) & exit 0`;
    const got = await recordRun(['sh', '-c', script]);
    const [last] = got.of('sensor').slice(-1);
    expect(last).toMatchObject({ coverage: 'none' });
    expect(last?.reason).toMatch(/^recording stopped while [12] processes still ran: \d+( \d+)?$/);
    await until(() => fs.existsSync(at('after')));
  });

  it('loses nothing to a slow sink: the command waits', async () => {
    // Far more than the socket's and node's buffers hold: some 3,000 events.
    const count = 12_000;
    const many = at('many');
    fs.mkdirSync(many);
    const body = `const fs = require('node:fs'); for (let i = 0; i < ${count}; i++) fs.writeFileSync(${JSON.stringify(many)} + '/' + i, '');`;
    let held = 0;
    const got = await recordRun([process.execPath, '-e', body], {
      async sink(drafts) {
        if (drafts.length > 1 && held === 0) {
          await new Promise((resolve) => setTimeout(resolve, 1000));
          held = fs.readdirSync(many).length;
        }
      },
    });
    const files = got.of('file').filter((e) => e.file_path.startsWith(many));
    expect(files.map((e) => Number(path.basename(e.file_path)))).toEqual(
      Array.from({ length: count }, (_, i) => i),
    );
    expect(held).toBeGreaterThan(0);
    // It stood still while nobody took what was seen: pipe and buffers hold far less than all. The
    // ring of the native form holds it all; what it does when that is full stands in places.
    if (form !== 'native') expect(held).toBeLessThan(count);
  });

  it.runIf(form === 'in TypeScript')(
    'tells a dead supervisor as a gap, and ends with it',
    async () => {
      const script = `echo 1 > ${at('before')}; sleep 0.3; echo 2 > ${at('unseen')}; exit 0`;
      const began = Date.now();
      const got = await recordRun(['sh', '-c', script], {
        async during(running) {
          await until(() => fs.existsSync(at('before')));
          await new Promise((resolve) => setTimeout(resolve, 100));
          process.kill(parentOf(running.pid), 'SIGKILL');
        },
      });
      expect(got.exit).toMatchObject({ code: null, signal: null });
      expect(got.exit.error).toMatch(/recording ended before/);
      expect(got.of('file').map((e) => e.file_path)).toContain(at('before'));
      expect(got.of('gap')).toMatchObject([{ gap_reason: 'sensor_lost', sensor_name: 'seccomp' }]);
      expect(got.log.lines).toMatchObject([{ level: 'error', event: 'sensor_lost' }]);
      // It was said beforehand that this form is not replaced.
      expect(got.of('sensor')[0]?.attrs?.limits).toMatch(/not replaced.*reads of secrets/);
      // Nothing can be done unseen: what would have been recorded fails.
      expect(fs.existsSync(at('unseen'))).toBe(false);
      expect(Date.now() - began).toBeLessThan(10_000);
    },
  );

  it.runIf(form === 'native')('goes on with a new supervisor when one is killed', async () => {
    const [before, after] = [at('before-0'), at('after-0')];
    // Calls go on all the time, so that one is in hand whenever the supervisor dies.
    const script = `echo 1 > ${before}; i=0; while [ $i -lt 3000 ]; do echo x > ${at('n')}$i; i=$((i+1)); done; sleep 0.2; /bin/sh -c 'exit 4'; echo 3 > ${after}; exit 5`;
    let killed = 0;
    const got = await recordRun(['sh', '-c', script], {
      async during(running) {
        for (const mark of [before, at('n1000'), at('n2000')]) {
          await until(() => fs.existsSync(mark));
          const supervisor = supervisorOf(running.pid);
          process.kill(supervisor, 'SIGKILL');
          killed++;
          await until(() => !fs.existsSync(`/proc/${supervisor}`));
        }
      },
    });
    expect(got.exit).toEqual({ code: 5, signal: null });
    const paths = got.of('file').map((e) => e.file_path);
    for (let i = 0; i < 3000; i++) expect(paths).toContain(`${at('n')}${i}`);
    expect(paths).toContain(after);
    expect(got.of('gap').map((e) => e.gap_reason)).toEqual(Array(killed).fill('sensor_lost'));
    // The loss is of ends and beginnings at most: no call is in there twice.
    expect(paths.filter((name) => name.startsWith(at('n')))).toHaveLength(3000);
    expect(got.of('exit').find((e) => e.exit_code === 4)).toBeDefined();
    expect(got.of('exit').at(-1)?.exit_code).toBe(5);
  });

  it('ends the recording when the sink fails, and says why', async () => {
    const failing = recordRun(['sh', '-c', 'sleep 0.2; echo x > /dev/null; exit 0'], {
      async sink() {
        throw new Error('disk full');
      },
    });
    await expect(failing).rejects.toThrow('disk full');
  });

  it('answers ENOSYS to what would go round the filter, and says so', async () => {
    openBy32Bit(at('gate32'), at('round'));
    writeElf(at('uring'), call64(SYS.io_uring_setup, 8, 0));
    writeElf(at('x32'), call64(0x40000000 + 39, 0, 0));
    const script = `./gate32; echo $? > codes; ./uring; echo $? >> codes; ./x32; echo $? >> codes`;
    const got = await recordRun(['sh', '-c', script], { cwd: dir });
    expect(fs.readFileSync(at('codes'), 'utf8')).toBe(`${ENOSYS}\n${ENOSYS}\n${ENOSYS}\n`);
    expect(fs.existsSync(at('round'))).toBe(false);
    const blocked = got.of('sensor').filter((e) => e.reason?.startsWith('answered ENOSYS'));
    expect(blocked.map((e) => e.reason?.split(': ')[1])).toEqual([
      'foreign_architecture',
      'io_uring_setup',
      'foreign_architecture',
    ]);
    const pids = got.of('exec').map((e) => e.pid);
    for (const event of blocked) expect(pids).toContain(event.pid);
  });

  it('refuses to nest, by name, so that another rung can be tried', async () => {
    // What runs below a listener may not have a second one.
    const file = new URL('../../../collector/sensors/seccomp.ts', import.meta.url).pathname;
    const body = `
      import { createSeccompSensor } from ${JSON.stringify(file)};
      import fs from 'node:fs';
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const env = { PATH: '/usr/bin:/bin' };
      createSeccompSensor({ log }).run({ argv: ['true'], env, cwd: '/' }, async () => {}).catch((e) =>
        fs.writeFileSync(${JSON.stringify(at('nested'))}, e.name + ' ' + e.reason));`;
    const root = path.resolve(import.meta.dirname, '../../..');
    const argv = ['--conditions=telltale-source', '--import', 'tsx', '--input-type=module'];
    await recordRun([process.execPath, ...argv, '-e', body], { cwd: root });
    expect(fs.readFileSync(at('nested'), 'utf8')).toBe('SensorError listener_taken');
  });
});

describe('elsewhere', () => {
  it('says that it is not built for another platform', async () => {
    const platform = Object.getOwnPropertyDescriptor(process, 'platform');
    Object.defineProperty(process, 'platform', { value: 'darwin' });
    try {
      const running = createSeccompSensor({ log: fakeLog() }).run(
        { argv: ['true'], env: {}, cwd: '/' },
        async () => {},
      );
      await expect(running).rejects.toBeInstanceOf(SensorError);
      await expect(running).rejects.toMatchObject({ reason: 'platform' });
    } finally {
      if (platform) Object.defineProperty(process, 'platform', platform);
    }
  });
});
