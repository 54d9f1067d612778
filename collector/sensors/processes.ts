/**
 * The supervisor's table of living processes. One pidfd per process tells of its end and, from
 * Linux 6.15 on, of its exit state, without ever stopping it (pidfs, PIDFD_GET_INFO).
 */
import { errno, type Libc } from './native.ts';
import { IOCTL_PIDFD_GET_INFO, PIDFD_INFO_EXIT, PIDFD_INFO_PID, SYS } from './syscalls.ts';
import type { Tracee } from './tracee.ts';
import { FRAME, type FrameWriter, NO_NUMBER } from './wire.ts';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
const EPOLLHUP = 0x10;
/** struct epoll_event, packed on x86_64. */
const EPOLL_EVENT_BYTES = 12;
const EVENTS_MAX = 256;
const WNOHANG = 1;
/** Field 52 of /proc/PID/stat counted from the state, which is the first after the name. */
const STAT_EXIT_CODE_INDEX = 49;

/** An execve whose success is not known yet. */
export interface PendingExec {
  readonly argvLow: number;
  readonly argvHigh: number;
  readonly base: string;
  readonly argv: Buffer;
}

export interface Process {
  readonly pid: number;
  readonly pidfd: number;
  ppid: number;
  pending: PendingExec | undefined;
  /** Connected sockets towards port 53: descriptor to socket address. */
  dns: Map<number, Buffer> | undefined;
  readonly threads: Set<number>;
}

export interface Processes {
  /** The process of a stopped thread; announces it and its unknown ancestors first. */
  of(tid: number): Process;
  /** Takes in the launcher, which becomes the command. */
  adopt(pid: number): void;
  /** Reports the ends that are due; true if the command's main process was among them. */
  reap(): boolean;
  /** Reports the processes that are dead but that nobody waits for. */
  sweep(): void;
  readonly living: () => number[];
  readonly epollFd: number;
  readonly mainStatus: () => number | undefined;
}

export interface ProcessesDeps {
  readonly libc: Libc;
  readonly tracee: Tracee;
  readonly writer: FrameWriter;
  readonly self: number;
  /** Whether a pidfd still tells the exit state of a process that was waited for. */
  readonly exitState: boolean;
  /** Reads the join keys out of an environment. */
  readonly keysOf: (pid: number) => Buffer;
}

export function createProcesses(deps: ProcessesDeps): Processes {
  const { libc, tracee, writer, self } = deps;
  const byPid = new Map<number, Process>();
  const byThread = new Map<number, Process>();
  const epollFd = libc.epollCreate(EPOLL_CLOEXEC);
  if (epollFd < 0) throw new Error(`epoll_create1: errno ${errno()}`);
  const events = Buffer.alloc(Math.max(4096, EPOLL_EVENT_BYTES * EVENTS_MAX));
  const event = Buffer.alloc(4096);
  const info = Buffer.alloc(4096);
  const status = Buffer.alloc(4096);
  let mainPid = 0;
  let mainStatus: number | undefined;
  let waitedMain: number | undefined;

  const getInfo = (pidfd: number, mask: number): boolean => {
    info.fill(0, 0, 64);
    info.writeUInt32LE(mask, 0);
    return libc.ioctl(pidfd, IOCTL_PIDFD_GET_INFO, info) === 0;
  };
  const parentOf = (pid: number, pidfd: number): number => {
    if (pidfd >= 0 && getInfo(pidfd, PIDFD_INFO_PID) && info.readUInt32LE(0) & PIDFD_INFO_PID)
      return info.readUInt32LE(24);
    return statusNumber(pid, 'PPid');
  };
  const statusNumber = (pid: number, name: string): number => {
    const text = tracee.file(pid, 'status').toString('latin1');
    const at = text.indexOf(`\n${name}:`);
    return at < 0 ? 0 : Number.parseInt(text.slice(at + name.length + 2), 10) || 0;
  };

  const add = (pid: number, pidfd: number): Process => {
    const ppid = parentOf(pid, pidfd);
    const orphan = ppid === self && pid !== mainPid;
    if (ppid !== self && ppid > 1 && !byPid.has(ppid)) ancestor(ppid);
    const process: Process = {
      pid,
      pidfd,
      ppid,
      pending: undefined,
      dns: undefined,
      threads: new Set([pid]),
    };
    byPid.set(pid, process);
    byThread.set(pid, process);
    if (pidfd >= 0) {
      // A hang-up (always told) comes when the process was waited for; "readable" when it died.
      event.writeUInt32LE(deps.exitState ? 0 : EPOLLIN, 0);
      event.writeUInt32LE(pid, 4);
      event.writeUInt32LE(0, 8);
      libc.epollCtl(epollFd, EPOLL_CTL_ADD, pidfd, event);
    }
    // An orphan's parent is gone, so its tool call can only come from its own environment.
    writer.put(FRAME.process, pid, ppid, 0, 0, orphan ? [deps.keysOf(pid)] : []);
    return process;
  };
  const ancestor = (pid: number) => {
    const pidfd = libc.syscall(SYS.pidfd_open, pid, 0, 0, 0, 0);
    if (pidfd >= 0) add(pid, pidfd);
  };
  const firstSight = (tid: number): Process => {
    const pidfd = libc.syscall(SYS.pidfd_open, tid, 0, 0, 0, 0);
    if (pidfd >= 0) return add(tid, pidfd);
    const tgid = statusNumber(tid, 'Tgid') || tid;
    const known = byPid.get(tgid);
    const process =
      known ?? add(tgid, tgid === tid ? -1 : libc.syscall(SYS.pidfd_open, tgid, 0, 0, 0, 0));
    byThread.set(tid, process);
    process.threads.add(tid);
    return process;
  };

  const exitStatus = (process: Process): number => {
    if (deps.exitState) {
      if (getInfo(process.pidfd, PIDFD_INFO_EXIT) && info.readUInt32LE(0) & PIDFD_INFO_EXIT)
        return info.readUInt32LE(60);
      return NO_NUMBER;
    }
    reapChildren();
    if (process.pid === mainPid && waitedMain !== undefined) return waitedMain;
    return zombieStatus(process.pid) ?? NO_NUMBER;
  };
  /** Orphans come to us. Where exit state is kept (SIGCHLD ignored) the kernel reaps them. */
  const reapChildren = () => {
    for (;;) {
      const pid = libc.waitpid(-1, status, WNOHANG);
      if (pid <= 0) return;
      if (pid === mainPid) waitedMain = status.readUInt32LE(0);
    }
  };
  /** The wait status of a process that is dead and not yet waited for. */
  const zombieStatus = (pid: number): number | undefined => {
    const text = tracee.file(pid, 'stat').toString('latin1');
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .trim()
      .split(' ');
    if (fields[0] !== 'Z') return undefined;
    const code = Number(fields[STAT_EXIT_CODE_INDEX]);
    return Number.isInteger(code) ? code >>> 0 : undefined;
  };
  const remove = (process: Process, code: number) => {
    writer.put(FRAME.exit, process.pid, code, 0, 0, []);
    if (process.pid === mainPid) mainStatus = code;
    for (const tid of process.threads) if (byThread.get(tid) === process) byThread.delete(tid);
    byPid.delete(process.pid);
    if (process.pidfd >= 0) libc.close(process.pidfd);
  };

  return {
    epollFd,
    of(tid) {
      const known = byThread.get(tid);
      if (known === undefined) return firstSight(tid);
      // A thread's id may have been given to a new process since; a living leader's can't.
      if (known.pid === tid || libc.syscall(SYS.tgkill, known.pid, tid, 0, 0, 0) === 0)
        return known;
      known.threads.delete(tid);
      byThread.delete(tid);
      return firstSight(tid);
    },
    adopt(pid) {
      mainPid = pid;
      add(pid, libc.syscall(SYS.pidfd_open, pid, 0, 0, 0, 0));
    },
    reap() {
      const before = mainStatus;
      for (;;) {
        const count = libc.epollWait(epollFd, events, EVENTS_MAX, 0);
        if (count <= 0) break;
        writer.stamp();
        tracee.reset();
        for (let i = 0; i < count; i++) {
          const wanted = deps.exitState ? EPOLLHUP : EPOLLIN;
          if ((events.readUInt32LE(i * EPOLL_EVENT_BYTES) & wanted) === 0) continue;
          const process = byPid.get(events.readUInt32LE(i * EPOLL_EVENT_BYTES + 4));
          if (process !== undefined) remove(process, exitStatus(process));
        }
        if (count < EVENTS_MAX) break;
      }
      if (!deps.exitState) reapChildren();
      return before === undefined && mainStatus !== undefined;
    },
    sweep() {
      writer.stamp();
      for (const process of [...byPid.values()]) {
        tracee.reset();
        const code = zombieStatus(process.pid);
        if (code !== undefined) remove(process, code);
      }
    },
    living: () => [...byPid.keys()],
    mainStatus: () => mainStatus,
  };
}
