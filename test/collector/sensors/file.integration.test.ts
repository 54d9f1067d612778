/** Real kernel: what is done to files, under their absolute names. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SYS } from '../../../collector/sensors/syscalls.ts';
import { withCalls } from './calls.ts';
import { here, type Recorded, RUNGS, scratchDir } from './recorder.ts';

/** What was done below the test's directory, in order: operation, path, second path. */
describe.skipIf(!here).each(RUNGS)('files, %s', (_form, recordRun) => {
  const dir = here ? scratchDir() : '';
  afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
  const done = (got: Recorded) =>
    got
      .of('file')
      .filter((e) => e.file_path.startsWith(dir) || e.file_target_path?.startsWith(dir))
      .map((e) => [e.file_op, e.file_path, e.file_target_path ?? e.file_mode ?? '']);
  const at = (name: string) => path.join(dir, name);
  it('records every way a shell changes files, relative to where it stands', async () => {
    const script = [
      'mkdir -m 700 d',
      'cd d',
      'umask 022',
      'echo 1 > ../d/./a',
      'echo 2 >> a',
      'mv a b',
      'chmod 755 b',
      'ln b hard',
      'ln -s ../elsewhere soft',
      'rm hard',
      'truncate -s 0 b',
      'mkfifo pipe',
      'cat b > /dev/null',
      'cd ..',
      'rm -r d',
    ].join(' && ');
    const got = await recordRun(['sh', '-c', script], { cwd: dir });
    expect(got.exit.code).toBe(0);
    const d = at('d');
    const seen = done(got);
    expect(seen.slice(0, 8)).toEqual([
      ['mkdir', d, '0700'],
      ['create', `${d}/a`, '0666'],
      ['write', `${d}/a`, ''],
      ['rename', `${d}/a`, `${d}/b`],
      ['mode', `${d}/b`, '0755'],
      ['link', `${d}/b`, `${d}/hard`],
      ['symlink', at('elsewhere'), `${d}/soft`],
      ['delete', `${d}/hard`, ''],
    ]);
    // coreutils opens the file to cut it; the removal's order is the directory's.
    expect(seen.slice(8, 10)).toEqual([
      ['write', `${d}/b`, ''],
      ['mknod', `${d}/pipe`, '0666'],
    ]);
    expect(seen.slice(10, -1).sort()).toEqual([
      ['delete', `${d}/b`, ''],
      ['delete', `${d}/pipe`, ''],
      ['delete', `${d}/soft`, ''],
    ]);
    expect(seen.at(-1)).toEqual(['rmdir', d, '']);
    for (const event of got.of('file')) expect(event.assurance).toBe('observed');
  });

  it('resolves descriptors, and reads every form of the calls', async () => {
    fs.mkdirSync(at('fds'), { recursive: true });
    const how =
      'const how = Buffer.alloc(24); how.writeUInt32LE(0o101, 0); how.writeUInt32LE(0o640, 8);';
    const body = `
      const dirfd = fs.openSync(${JSON.stringify(at('fds'))}, 'r');
      const out = (name, got) => { if (got < 0) console.error(name, got); };
      ${how}
      out('openat2', call(${SYS.openat2}, dirfd, text('two'), pointer(how), 24));
      out('openat', call(${SYS.openat}, dirfd, text('one'), 0o101, 0o600));
      out('creat', call(${SYS.creat}, text('fds/three'), 0o644));
      out('renameat', call(${SYS.renameat}, dirfd, text('one'), -100, text('fds/uno')));
      out('renameat2', call(${SYS.renameat2}, dirfd, text('uno'), dirfd, text('eins'), 0));
      out('linkat', call(${SYS.linkat}, dirfd, text('eins'), dirfd, text('zwei'), 0));
      out('symlinkat', call(${SYS.symlinkat}, text('eins'), dirfd, text('drei')));
      out('mkdirat', call(${SYS.mkdirat}, dirfd, text('sub'), 0o755));
      const fd = call(${SYS.openat}, dirfd, text('eins'), 2, 0);
      out('fchmod', call(${SYS.fchmod}, fd, 0o4755));
      out('fchmodat', call(${SYS.fchmodat}, dirfd, text('zwei'), 0o711));
      out('truncate', call(${SYS.truncate}, text('fds/eins'), 0));
      out('tmpfile', call(${SYS.openat}, dirfd, text('.'), 0o20200002, 0o600));
      out('unlinkat', call(${SYS.unlinkat}, dirfd, text('zwei'), 0));
      out('unlinkat dir', call(${SYS.unlinkat}, dirfd, text('sub'), 0x200));
      out('readonly', call(${SYS.openat}, dirfd, text('eins'), 0));
      out('harmless chmod', call(${SYS.fchmod}, fd, 0o644));
    `;
    const got = await recordRun(withCalls(body), { cwd: dir });
    expect(got.exit.code).toBe(0);
    const f = at('fds');
    expect(done(got)).toEqual([
      ['create', `${f}/two`, '0640'],
      ['create', `${f}/one`, '0600'],
      ['create', `${f}/three`, '0644'],
      ['rename', `${f}/one`, `${f}/uno`],
      ['rename', `${f}/uno`, `${f}/eins`],
      ['link', `${f}/eins`, `${f}/zwei`],
      ['symlink', `${f}/eins`, `${f}/drei`],
      ['mkdir', `${f}/sub`, '0755'],
      ['write', `${f}/eins`, ''],
      ['mode', `${f}/eins`, '4755'],
      ['mode', `${f}/zwei`, '0711'],
      ['truncate', `${f}/eins`, ''],
      ['create', f, '0600'],
      ['delete', `${f}/zwei`, ''],
      ['rmdir', `${f}/sub`, ''],
    ]);
    expect(got.of('file').find((e) => e.attrs?.unnamed)?.attrs).toMatchObject({
      unnamed: 'O_TMPFILE',
    });
  });

  it('escapes names that are not UTF-8, and says so when memory cannot be read', async () => {
    const body = `
      const name = Buffer.from([0x66, 0xff, 0x5c, 0]);
      call(${SYS.creat}, pointer(name), 0o644);
      call(${SYS.unlink}, 8);
      const long = Buffer.alloc(4095, 'n');
      call(${SYS.unlink}, pointer(Buffer.concat([long, Buffer.alloc(1)])));
    `;
    const got = await recordRun(withCalls(body), { cwd: dir });
    const files = got.of('file').filter((e) => e.file_path !== '/dev/null');
    expect(files[0]).toMatchObject({
      file_path: `${dir}/f\\xff\\\\`,
      attrs: { escaped: 'file_path' },
    });
    expect(files[1]).toMatchObject({
      file_op: 'delete',
      file_path: '(unreadable)',
      attrs: { unreadable: 'memory' },
    });
    expect(files[2]?.file_path).toBe(`${dir}/${'n'.repeat(4095)}`);
  });

  it('knows the process of calls made by its threads', async () => {
    const body = `
      const { Worker } = require('node:worker_threads');
      fs.writeFileSync(${JSON.stringify(at('main.txt'))}, 'x');
      fs.writeFile(${JSON.stringify(at('pool.txt'))}, 'x', () => {});
      for (let i = 0; i < 4; i++)
        new Worker('require("node:fs").writeFileSync(' + JSON.stringify(${JSON.stringify(at('w'))} + i) + ', "x")', { eval: true });
    `;
    const got = await recordRun([process.execPath, '-e', body], { cwd: dir });
    const files = got.of('file').filter((e) => e.file_path.startsWith(dir));
    expect(files.map((e) => path.basename(e.file_path)).sort()).toEqual(
      ['main.txt', 'pool.txt', 'w0', 'w1', 'w2', 'w3'].sort(),
    );
    const [exec] = got.of('exec');
    expect(new Set(files.map((e) => e.pid))).toEqual(new Set([exec?.pid]));
    expect(got.of('exit').length).toBe(1);
  });
});
