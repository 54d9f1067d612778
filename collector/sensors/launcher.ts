/**
 * Entry of the launcher's process: sets the filter on its main thread, hands the listener to the
 * supervisor, makes the probe's calls and becomes the command. Only this thread has the filter, so
 * the listener is sent from another one, whose calls nobody has to answer.
 */
import { existsSync, readSync, writeSync } from 'node:fs';
import { filterBytes } from './filter.ts';
import type { LaunchFault, LaunchSpec } from './launch.ts';
import { addressOf, cStrings, errno, fdMessage, type Libc, loadLibc } from './native.ts';
import { PROBE, PROBE_PROGRAMS } from './probe.ts';
import {
  O_WRONLY,
  PR_SET_NO_NEW_PRIVS,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_SET_MODE_FILTER,
  SYS,
} from './syscalls.ts';

const EINVAL = 22;
const ENOENT = 2;
const ENOEXEC = 8;
const EACCES = 13;
const ENOTDIR = 20;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const SIGNAL_MAX = 64;
const EXIT_NOT_FOUND = 127;
const EXIT_NOT_RUNNABLE = 126;
/** What execvp(3) takes where the environment has no PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';

function readExactly(fd: number, bytes: number): Buffer {
  const into = Buffer.alloc(bytes);
  let at = 0;
  while (at < bytes) {
    const got = readSync(fd, into, at, bytes - at, null);
    if (got === 0) throw new Error('the supervisor is gone');
    at += got;
  }
  return into;
}

function fail(channel: number, fault: LaunchFault): never {
  writeSync(channel, `${JSON.stringify(fault)}\n`);
  process.exit(fault.errno === ENOENT || fault.step === 'cwd' ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE);
}

/** Sets the filter; the listener, or a fault. Newer flags are left out where they are unknown. */
function setFilter(
  libc: Libc,
  notifyExit: boolean,
): { listener: number; noNewPrivs: boolean } | LaunchFault {
  const root = libc.geteuid() === 0;
  const code = filterBytes({ notifyExit, keepDumpable: !root });
  const program = Buffer.alloc(4096);
  program.writeUInt16LE(code.length / 8, 0);
  program.writeBigUInt64LE(addressOf(code), 8);
  const base = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const set = (): number => {
    for (const flags of [base | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, base]) {
      const got = libc.syscallPointer(SYS.seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
      if (got >= 0) return got;
      if (errno() !== EINVAL) return -errno();
    }
    return -EINVAL;
  };
  // Without CAP_SYS_ADMIN the kernel wants no_new_privs: then set-user-id programs don't elevate.
  let listener = root ? set() : -EACCES;
  let noNewPrivs = false;
  if (listener === -EACCES) {
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    noNewPrivs = true;
    listener = set();
  }
  if (listener >= 0) return { listener, noNewPrivs };
  return { step: 'filter', errno: -listener, detail: 'seccomp(SECCOMP_SET_MODE_FILTER)' };
}

/** Runs one C function on another thread: libuv's, which was made before the filter. */
function onOtherThread(libc: Libc, fd: number, header: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    libc.sendmsg.async(fd, header, 0, (error: Error | null, result: number) => {
      if (error) reject(error);
      else resolve(result);
    });
  });
}

/** One exec, one write, one connect, as the self-check wants to see them. */
function probe(libc: Libc): void {
  const path = Buffer.from(`${PROBE.file}\0`);
  const fd = libc.open(path, O_WRONLY, 0);
  if (fd >= 0) libc.close(fd);
  const socket = libc.socket(PROBE.family, PROBE.socketType, 0);
  if (socket >= 0) {
    libc.connect(socket, PROBE.address, PROBE.address.length);
    libc.close(socket);
  }
  const program = PROBE_PROGRAMS.find((name) => existsSync(name));
  if (program === undefined) return;
  const pid = Buffer.alloc(4096);
  const argv = cStrings([program, PROBE.argument]);
  const envp = cStrings([]);
  if (libc.posixSpawn(pid, program, null, null, argv.array, envp.array) === 0)
    libc.waitpid(pid.readInt32LE(0), pid, 0);
}

/** execvp(3) with the command's own PATH; returns only when nothing could be run. */
function execute(libc: Libc, spec: LaunchSpec): number {
  const name = spec.argv[0] ?? '';
  const argv = cStrings(spec.argv);
  const envp = cStrings(Object.entries(spec.env).map(([key, value]) => `${key}=${value}`));
  const places = name.includes('/')
    ? [name]
    : (spec.env.PATH ?? DEFAULT_PATH).split(':').map((dir) => `${dir === '' ? '.' : dir}/${name}`);
  let denied = 0;
  for (const path of name === '' ? [] : places) {
    libc.execve(path, argv.array, envp.array);
    const failed = errno();
    if (failed === ENOEXEC) {
      const script = cStrings(['/bin/sh', path, ...spec.argv.slice(1)]);
      libc.execve('/bin/sh', script.array, envp.array);
    }
    if (failed === EACCES) denied = EACCES;
    else if (failed !== ENOENT && failed !== ENOTDIR) return failed;
  }
  return denied || ENOENT;
}

async function main(): Promise<void> {
  const channel = Number(process.argv[2]);
  const libc = loadLibc();
  libc.fcntl(channel, F_SETFD, FD_CLOEXEC);
  const length = readExactly(channel, 4).readUInt32LE();
  const spec = JSON.parse(readExactly(channel, length).toString()) as LaunchSpec;
  try {
    process.chdir(spec.cwd);
  } catch (error) {
    const { errno: number } = error as NodeJS.ErrnoException;
    fail(channel, { step: 'cwd', errno: -(number ?? -ENOENT), detail: spec.cwd });
  }
  // The threads that must stay without the filter are made now: a send on a bad descriptor.
  await onOtherThread(libc, -1, fdMessage().header);
  const set = setFilter(libc, spec.notifyExit);
  if ('step' in set) return fail(channel, set);
  const message = fdMessage(set.listener);
  message.keep[0]?.write(set.noNewPrivs ? 'n' : 'f');
  if ((await onOtherThread(libc, channel, message.header)) !== 1) process.exit(EXIT_NOT_RUNNABLE);
  readExactly(channel, 1);
  probe(libc);
  for (const fd of [0, 1, 2]) libc.fcntl(fd, F_SETFD, 0);
  // Node ignores SIGPIPE and the supervisor ignores more; a program expects the defaults.
  for (let signal = 1; signal <= SIGNAL_MAX; signal++) libc.signal(signal, 0);
  const failed = execute(libc, spec);
  fail(channel, { step: 'exec', errno: failed, detail: spec.argv[0] ?? '' });
}

await main();
