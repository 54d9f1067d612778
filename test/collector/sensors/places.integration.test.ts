/** Real kernel: what agents do to their own processes, and many of them at once. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { helper, here, RUNGS, recordRun, scratchDir } from './recorder.ts';

const CC = '/usr/bin/cc';
/** The native forms: 1,000 processes would take the TypeScript form a minute of loaders. */
const NATIVE = RUNGS.slice(1);

const LANDLOCK = `
  #define _GNU_SOURCE
  #include <fcntl.h>
  #include <linux/landlock.h>
  #include <sys/prctl.h>
  #include <sys/syscall.h>
  #include <unistd.h>
  int main(int count, char **argv) {
    struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE};
    int set = syscall(444, &rules, sizeof rules, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (set < 0 || syscall(446, set, 0) != 0) return 77;
    return open(argv[count - 1], O_WRONLY) < 0 ? 0 : 1;
  }`;

describe.skipIf(!here || helper === undefined || !fs.existsSync(CC)).each(NATIVE)(
  'places, %s',
  (form, record) => {
    const dir = here ? scratchDir() : '';
    const at = (name: string) => path.join(dir, name);
    afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
    beforeAll(() => {
      fs.writeFileSync(at('landlock.c'), LANDLOCK);
      execFileSync(CC, ['-o', at('landlock'), at('landlock.c')]);
      fs.chmodSync(dir, 0o777);
    });
    const paths = (got: { of(kind: 'file'): { file_path: string }[] }) =>
      got.of('file').map((event) => event.file_path);

    it('sees a namespace of users and mounts, and what is done in it', async () => {
      const script = 'echo x > inner; mount -t tmpfs none sub; exit 6';
      fs.mkdirSync(at('sub'));
      const argv = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', script];
      const got = await record(argv, { cwd: dir });
      expect(got.exit.code).toBe(6);
      expect(paths(got)).toContain(at('inner'));
      expect(got.of('syscall').map((event) => event.syscall)).toEqual(
        expect.arrayContaining(['unshare', 'mount']),
      );
    });

    it('sees a changed root, and an attempt that Landlock refuses', async () => {
      fs.writeFileSync(at('kept'), '');
      const got = await record(
        ['sh', '-c', './landlock ./kept; echo $? > code; /usr/sbin/chroot . /bin/true; true'],
        {
          cwd: dir,
        },
      );
      expect(got.of('syscall')).toMatchObject([{ syscall: 'chroot', file_path: dir }]);
      const code = fs.readFileSync(at('code'), 'utf8').trim();
      // 77: this kernel has no Landlock, so that nothing is refused.
      if (code === '77') return;
      expect(code).toBe('0');
      expect(paths(got)).toContain(at('kept'));
    });

    it.skipIf(process.getuid?.() !== 0)('sees a process that gave up its rights', async () => {
      const argv = ['setpriv', '--reuid=65534', '--clear-groups', 'sh', '-c', 'echo x > lesser'];
      const got = await record(argv, { cwd: dir });
      expect(paths(got)).toContain(at('lesser'));
      expect(fs.statSync(at('lesser')).uid).toBe(65534);
    });

    it('sees a thousand processes that live at the same time', async () => {
      const script = `i=0; while [ $i -lt 1000 ]; do (echo x > many$i; exec sleep 1) & i=$((i+1)); done; wait`;
      const got = await record(['sh', '-c', script], { cwd: dir });
      const many = new Set(paths(got).filter((name) => name.startsWith(at('many'))));
      expect(many.size).toBe(1000);
      const sleeps = got.of('exec').filter((event) => event.argv?.[0] === 'sleep');
      expect(sleeps).toHaveLength(1000);
      const pids = new Set(sleeps.map((event) => event.pid));
      const ends = got.of('exit').filter((event) => pids.has(event.pid));
      expect(ends).toHaveLength(1000);
      expect(ends.every((event) => event.exit_code === 0)).toBe(true);
      expect(got.of('gap')).toEqual([]);
    });

    it('names a daemon that outlives the command, with what it did before', async () => {
      const script = `(setsid sh -c 'echo x > daemon; sleep 5' &) ; sleep 0.3; exit 0`;
      const got = await record(['sh', '-c', script], { cwd: dir });
      expect(paths(got)).toContain(at('daemon'));
      expect(got.of('sensor').at(-1)).toMatchObject({ coverage: 'none' });
      expect(form).toMatch(/native|ptrace/);
    });
  },
);

describe.skipIf(!here || helper === undefined)('a collector that takes nothing', () => {
  it('holds the command up for a bounded time; then what is not told is counted', async () => {
    const dir = scratchDir();
    // Names of 4 kB, so that 6,000 of them are more than the supervisor's ring holds.
    const body = `
      const fs = require('node:fs');
      const long = ${JSON.stringify(dir)} + '/.'.repeat(1900) + '/f';
      for (let i = 0; i < 6000; i++) fs.closeSync(fs.openSync(long, 'w'));
      fs.writeFileSync(${JSON.stringify(path.join(dir, 'over'))}, '');`;
    const over = () => fs.existsSync(path.join(dir, 'over'));
    let stalled = false;
    const got = await recordRun([process.execPath, '-e', body], {
      helper: helper as string,
      blockMsMax: 300,
      async sink(drafts) {
        if (stalled || drafts.length < 2) return;
        stalled = true;
        // Stalled until the command has done all that it wants to, which it could not if it waited.
        for (let i = 0; i < 1000 && !over(); i++) await new Promise((r) => setTimeout(r, 10));
      },
    });
    expect(stalled && over()).toBe(true);
    const told = got.of('file').filter((event) => event.file_path === path.join(dir, 'f')).length;
    const [gap, ...more] = got.of('gap');
    expect(more).toEqual([]);
    expect(gap).toMatchObject({ gap_reason: 'sensor_overrun', sensor_name: 'seccomp' });
    expect(told).toBeLessThan(6000);
    // The count is of frames: the opens, and few others of the same process.
    expect(told + (gap?.gap_count ?? 0)).toBeGreaterThanOrEqual(6000);
    expect(told + (gap?.gap_count ?? 0)).toBeLessThan(6020);
    fs.rmSync(dir, { recursive: true, force: true });
  });
});

describe.skipIf(!here || helper === undefined)('a collector that is killed', () => {
  it('leaves nothing running unseen: recorded calls fail from then on', async () => {
    const dir = scratchDir();
    const file = new URL('../../../collector/sensors/seccomp.ts', import.meta.url).pathname;
    const script = 'echo 1 > before; sleep 1; echo 2 > after; exit 0';
    const body = `
      import { createSeccompSensor } from ${JSON.stringify(file)};
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const sensor = createSeccompSensor({ log, helper: ${JSON.stringify(helper)} });
      const command = { argv: ['sh', '-c', ${JSON.stringify(script)}], env: { PATH: '/usr/bin:/bin' }, cwd: ${JSON.stringify(dir)} };
      await sensor.run(command, () => {});
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 200);`;
    const root = path.resolve(import.meta.dirname, '../../..');
    const argv = ['--conditions=telltale-source', '--import', 'tsx', '--input-type=module'];
    expect(() =>
      execFileSync(process.execPath, [...argv, '-e', body], { cwd: root, stdio: 'ignore' }),
    ).toThrow();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(fs.readdirSync(dir)).toEqual(['before']);
    fs.rmSync(dir, { recursive: true, force: true });
  });
});
