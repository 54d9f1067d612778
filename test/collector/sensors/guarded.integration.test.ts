/** Real kernel: calls that reach into other processes, the kernel or the caller's confinement. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SYS } from '../../../collector/sensors/syscalls.ts';
import { withCalls } from './calls.ts';
import { here, RUNGS, scratchDir } from './recorder.ts';

describe.skipIf(!here).each(RUNGS)('a guarded call, %s', (_form, recordRun) => {
  const dir = here ? scratchDir() : '';
  afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
  const made: Record<string, unknown>[] = [];
  beforeAll(async () => {
    const got = await recordRun(
      withCalls(`
        const child = require('node:child_process').spawn('sleep', ['5']);
        call(${SYS.ptrace}, 16, child.pid);
        call(${SYS.ptrace}, 17, child.pid);
        call(${SYS.process_vm_writev}, child.pid, 0, 0, 0, 0);
        call(${SYS.memfd_create}, text('payload'), 0);
        call(${SYS.mount}, text('none'), text('/nowhere/mnt'), text('tmpfs'), 1, 0);
        call(${SYS.umount2}, text('mnt'), 0);
        call(${SYS.chroot}, text('/nowhere'));
        call(${SYS.unshare}, 0x4000000);
        call(${SYS.setns}, 999, 0x20000);
        call(${SYS.bpf}, 5, 0, 0);
        call(${SYS.pidfd_getfd}, 998, 1);
        fs.writeFileSync('busy', String(call(${SYS.seccomp}, 1, 8, pointer(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0,
          ...new Uint8Array(new BigUint64Array([BigInt(pointer(Buffer.from([6, 0, 0, 0, 0, 0, 255, 127])))]).buffer)])))));
        child.kill('SIGKILL');
      `),
      { cwd: dir },
    );
    made.push(...got.of('syscall').map(({ ts: _t, pid: _p, ppid: _pp, ...rest }) => rest));
  });
  const named = (name: string) => made.filter((event) => event.syscall === name);

  it('is told with what its registers say', () => {
    expect(named('ptrace')).toMatchObject([{ attrs: { request: 'PTRACE_ATTACH' } }]);
    const target = (named('ptrace')[0]?.attrs as Record<string, string> | undefined)?.target_pid;
    expect(target).toMatch(/^\d+$/);
    expect(named('process_vm_writev')).toMatchObject([{ attrs: { target_pid: target } }]);
    expect(named('unshare')).toMatchObject([{ attrs: { flags: 'CLONE_NEWUTS' } }]);
    expect(named('setns')).toMatchObject([{ attrs: { fd: '999', flags: 'CLONE_NEWNS' } }]);
    expect(named('bpf')).toMatchObject([{ attrs: { command: '5' } }]);
    expect(named('pidfd_getfd')).toMatchObject([{ attrs: { pidfd: '998', target_fd: '1' } }]);
  });

  it('is told with its paths, made absolute where they are paths', () => {
    expect(named('mount')).toMatchObject([
      { file_path: 'none', file_target_path: '/nowhere/mnt', attrs: { flags: 'MS_RDONLY' } },
    ]);
    expect(named('umount2')).toMatchObject([{ file_path: path.join(dir, 'mnt') }]);
    expect(named('chroot')).toMatchObject([{ file_path: '/nowhere' }]);
    expect(named('memfd_create')).toMatchObject([{ file_path: 'payload' }]);
  });

  it('is a failure where the kernel always refuses it: a second listener', () => {
    expect(named('seccomp')).toMatchObject([{ outcome: 'failure', error: 'EBUSY' }]);
    expect(fs.readFileSync(path.join(dir, 'busy'), 'utf8')).toBe('-16');
  });
});

describe.skipIf(!here || !fs.existsSync('/usr/bin/cc')).each(RUNGS)(
  'a program in memory only, %s',
  (_form, recordRun) => {
    const dir = here ? scratchDir() : '';
    afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
    it('is an exec by its memory file', async () => {
      const source = `
      #define _GNU_SOURCE
      #include <sys/mman.h>
      #include <unistd.h>
      #include <fcntl.h>
      extern char **environ;
      int main(void) {
        int from = open("/bin/true", O_RDONLY), to = memfd_create("hidden", 0);
        char buffer[65536];
        for (long got; (got = read(from, buffer, sizeof buffer)) > 0;) write(to, buffer, got);
        char *const argv[] = {"looks-harmless", 0};
        fexecve(to, argv, environ);
        return 1;
      }`;
      const program = path.join(dir, 'fileless');
      fs.writeFileSync(`${program}.c`, source);
      execFileSync('cc', ['-o', program, `${program}.c`]);
      const got = await recordRun([program], { cwd: dir });
      expect(got.exit.code).toBe(0);
      expect(got.of('exec').at(-1)).toMatchObject({
        exe: '/memfd:hidden (deleted)',
        argv: ['looks-harmless'],
        outcome: 'success',
        assurance: 'verified',
      });
      expect(got.of('syscall')).toMatchObject([{ syscall: 'memfd_create', file_path: 'hidden' }]);
    });

    it('says of a call by one of several threads that it could have been changed', async () => {
      const source = `
      #include <pthread.h>
      #include <fcntl.h>
      #include <unistd.h>
      static void *wait_(void *x) { pause(); return x; }
      int main(void) {
        close(open("one", O_CREAT | O_WRONLY, 0644));
        pthread_t t; pthread_create(&t, 0, wait_, 0);
        close(open("two", O_CREAT | O_WRONLY, 0644));
        return 0;
      }`;
      const program = path.join(dir, 'threads');
      fs.writeFileSync(`${program}.c`, source);
      execFileSync('cc', ['-pthread', '-o', program, `${program}.c`]);
      const got = await recordRun([program], { cwd: dir });
      const attrs = Object.fromEntries(
        got.of('file').map((event) => [path.basename(event.file_path), event.attrs]),
      );
      expect(attrs).toEqual({ one: undefined, two: { raceable: 'threads' } });
    });
  },
);
