/** Real kernel: what is run, by whom, with which end. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { unescapeBytes } from '../../../collector/sensors/bytes.ts';
import { writeElf } from './elf.ts';
import { BASE_ENV, here, RUNGS, scratchDir } from './recorder.ts';

describe.skipIf(!here).each(RUNGS)('exec and exit, %s', (form, recordRun) => {
  const dir = here ? scratchDir() : '';
  afterAll(() => dir !== '' && fs.rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string, mode = 0o755): string => {
    const file = path.join(dir, name);
    fs.writeFileSync(file, text, { mode });
    return file;
  };
  it('records argv, cwd, parent, exit code and signal', async () => {
    const script = [
      'cd sub',
      '/bin/echo "two words" "" last >/dev/null',
      `/bin/sh -c 'exit 41'`,
      `/bin/sh -c 'kill -9 $$'`,
      `/bin/echo "$(printf 'a\\377b\\\\c')" >/dev/null`,
      'exit 7',
    ].join('\n');
    fs.mkdirSync(path.join(dir, 'sub'), { recursive: true });
    const got = await recordRun(['sh', '-c', script], { cwd: dir });
    expect(got.exit).toEqual({ code: 7, signal: null });
    const execs = got.of('exec');
    const [main] = execs;
    expect(main).toMatchObject({
      argv: ['sh', '-c', script],
      cwd: dir,
      outcome: 'success',
      assurance: 'verified',
      source: form === 'ptrace' ? 'ptrace' : 'seccomp',
    });
    const echo = execs.find((e) => e.argv?.[1] === 'two words');
    expect(echo).toMatchObject({
      argv: ['/bin/echo', 'two words', '', 'last'],
      cwd: path.join(dir, 'sub'),
      exe: fs.realpathSync('/bin/echo'),
      ppid: main?.pid,
    });
    const exitOf = (argument: string) => {
      const pid = execs.find((e) => e.argv?.[2] === argument)?.pid;
      return got.of('exit').filter((e) => e.pid === pid);
    };
    expect(exitOf('exit 41')).toMatchObject([{ exit_code: 41, assurance: 'verified' }]);
    const [killed, ...more] = exitOf('kill -9 $$');
    expect(killed).toMatchObject({ exit_signal: 'SIGKILL', ppid: main?.pid });
    expect(killed).not.toHaveProperty('exit_code');
    expect(more).toEqual([]);
    const bytes = execs.find((e) => e.attrs?.escaped === 'argv')?.argv?.[1] ?? '';
    expect(bytes).toBe('a\\xffb\\\\c');
    expect(unescapeBytes(bytes)).toEqual(Buffer.from('a\xffb\\c', 'latin1'));
    expect(got.of('exit').find((e) => e.pid === main?.pid)).toMatchObject({ exit_code: 7 });
    expect(got.of('exec').length).toBe(got.of('exit').length);
  });

  it('folds a search along PATH into one event, and says why a search failed', async () => {
    const places = ['p1', 'p2', 'p3'].map((name) => path.join(dir, name));
    for (const place of places) fs.mkdirSync(place, { recursive: true });
    write('p2/tool', '#!/bin/sh\nexit 5\n');
    write('p1/denied', 'text', 0o644);
    const env = { ...BASE_ENV, PATH: `${places.join(':')}:${BASE_ENV.PATH}` };
    // env(1) searches by execvp(3): every place is an execve of its own.
    const script = 'env tool one; env nosuch two; env denied; /nowhere/at/all; exit 0';
    const got = await recordRun(['sh', '-c', script], { cwd: dir, env });
    const by = (name: string) => got.of('exec').filter((e) => e.argv?.includes(name));
    expect(by('one')).toMatchObject([
      { argv: ['env', 'tool', 'one'], outcome: 'success' },
      {
        argv: ['/bin/sh', path.join(dir, 'p2/tool'), 'one'],
        exe: fs.realpathSync('/bin/sh'),
        outcome: 'success',
      },
    ]);
    expect(by('two')).toMatchObject([
      { argv: ['env', 'nosuch', 'two'], outcome: 'success' },
      { argv: ['nosuch', 'two'], outcome: 'failure', error: 'ENOENT', exe: '/bin/nosuch' },
    ]);
    expect(got.of('exec').find((e) => e.argv?.[0] === 'denied')).toMatchObject({
      outcome: 'failure',
      error: 'EACCES',
    });
    expect(got.of('exec').filter((e) => e.exe === '/nowhere/at/all')).toMatchObject([
      { outcome: 'failure', error: 'ENOENT' },
    ]);
  });

  it('keeps long arguments and many of them whole', async () => {
    const long = 'x'.repeat(100_000);
    const many = Array.from({ length: 3000 }, (_, i) => `argument-${i}`);
    const got = await recordRun(['/bin/true', long, ...many]);
    expect(got.of('exec').map((e) => e.argv)).toEqual([['/bin/true', long, ...many]]);
  });

  it('sees programs without a C library, and those that end at once', async () => {
    const bare = path.join(dir, 'bare');
    writeElf(bare, [0xb8, 60, 0, 0, 0, 0xbf, 9, 0, 0, 0, 0x0f, 0x05]);
    // The last one is run in place of the shell, so that its parent may be gone before it is.
    const script = `${bare} 1; sh -c '${bare} 2 & exit 0'; sleep 0.1; exec ${bare} 3`;
    const got = await recordRun(['sh', '-c', script], { cwd: dir });
    const execs = got.of('exec').filter((e) => e.exe === bare);
    expect(execs.map((e) => e.argv?.[1])).toEqual(['1', '2', '3']);
    for (const exec of execs) {
      // Never seen alive, so nobody can say that it ran: but the file was there to be run.
      // A tracer is told of each new program by the kernel.
      const seen = { outcome: 'success', assurance: 'verified' };
      expect(exec).toMatchObject(
        form === 'ptrace' ? seen : { outcome: 'unknown', assurance: 'observed' },
      );
      expect(got.of('exit').find((e) => e.pid === exec.pid)).toMatchObject({ exit_code: 9 });
    }
  });

  it('sees 200 processes at once, each with its exit code', async () => {
    const script =
      'i=0; while [ $i -lt 200 ]; do /bin/sh -c "exit $((i % 50))" & i=$((i+1)); done; wait';
    const got = await recordRun(['sh', '-c', script]);
    const execs = got.of('exec').filter((e) => e.argv?.[2]?.startsWith('exit'));
    expect(execs.length).toBe(200);
    expect(new Set(execs.map((e) => e.pid)).size).toBe(200);
    const codes = new Map(got.of('exit').map((e) => [e.pid, e.exit_code]));
    for (const exec of execs) expect(`exit ${codes.get(exec.pid)}`).toBe(exec.argv?.[2]);
  });

  it('falls back to exit_group and zombies where the kernel keeps no exit state', async () => {
    const script = `/bin/sh -c 'exit 4'; /bin/sh -c 'kill -15 $$'; exit 6`;
    const got = await recordRun(['sh', '-c', script], { exitState: false });
    expect(got.exit).toEqual({ code: 6, signal: null });
    expect(got.of('exit').length).toBe(3);
    const child = got.of('exec').find((e) => e.argv?.[2] === 'exit 4');
    expect(got.of('exit').find((e) => e.pid === child?.pid)).toMatchObject({ exit_code: 4 });
    expect(got.of('sensor')[0]?.attrs).toHaveProperty('exit_state');
  });

  it('rejects with the errno of a command that cannot be run', async () => {
    const plain = write('plain', 'no program', 0o644);
    await expect(recordRun(['no-such-command'])).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(recordRun([plain])).rejects.toMatchObject({ code: 'EACCES' });
    await expect(recordRun(['true'], { cwd: '/no/such/dir' })).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining('/no/such/dir'),
    });
    await expect(recordRun([])).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
