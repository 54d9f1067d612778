/**
 * The supervisor's table of living processes. One pidfd per process tells of its end and, from
 * Linux 6.15 on, of its exit state, without ever stopping it (pidfs, PIDFD_GET_INFO).
 */
import { execError, type PendingExec } from './capture-exec.ts';
import { errno, type Libc } from './native.ts';
import type { Procfs } from './procfs.ts';
import {
  AT_FDCWD,
  IOCTL_PIDFD_GET_INFO,
  PIDFD_INFO_EXIT,
  PIDFD_INFO_PID,
  SYS,
} from './syscalls.ts';
import { FRAME, type FrameWriter, NO_NUMBER } from './wire.ts';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
const EPOLLHUP = 0x10;
/** struct epoll_event, packed on x86_64. */
const EPOLL_EVENT_BYTES = 12;
const EVENTS_MAX = 256;
const WNOHANG = 1;
const F_OK = 0;
const ROOT = Buffer.from('/');
/** The part of a wait status that names a signal; all of it is set in NO_NUMBER. */
const SIGNAL_MASK = 0x7f;
/** struct pidfd_info, first version: mask, parent, exit code. */
const INFO_BYTES = 64;
const INFO_PPID = 24;
const INFO_EXIT_CODE = 60;

export interface Process {
  readonly pid: number;
  readonly pidfd: number;
  readonly ppid: number;
  pending: PendingExec | undefined;
  /** Connected sockets towards port 53: descriptor to socket address. */
  dns: Map<number, Buffer> | undefined;
  readonly threads: Set<number>;
  /** It had a second thread; stays true until the next program. */
  threaded: boolean;
}

export interface Processes {
  /** The process of a stopped thread; announces it and its unknown ancestors first. */
  of(tid: number): Process;
  /** Whether the process of a stopped thread has others, that could change its memory now. */
  threaded(process: Process, tid: number): boolean;
  /** Takes in the launcher, which becomes the command. */
  adopt(pid: number): void;
  /** Reports the ends that are due. */
  reap(): void;
  /** Reports the processes that are dead but that nobody waits for. */
  sweep(): void;
  /** All that the command left, whether it was ever seen to do anything or not. */
  readonly living: () => number[];
  /** How many of the processes that were seen have not ended. */
  readonly known: () => number;
  /** Readable when an end is due. */
  readonly epollFd: number;
  /** The wait status of the command's main process once it is gone. */
  readonly mainStatus: () => number | undefined;
}

export interface ProcessesDeps {
  readonly libc: Libc;
  readonly procfs: Procfs;
  readonly writer: FrameWriter;
  readonly self: number;
  /** Whether a pidfd still tells the exit state of a process that was waited for. */
  readonly exitState: boolean;
  /** Picks the join keys out of a process's environment. */
  readonly keysOf: (pid: number) => Buffer;
}

interface Table {
  readonly deps: ProcessesDeps;
  readonly byPid: Map<number, Process>;
  readonly byThread: Map<number, Process>;
  readonly ends: Ends;
  /** Processes below us that are older than the command: the helper of a source loader. */
  readonly strangers: Set<number>;
  mainPid: number;
  mainStatus: number | undefined;
}

export function createProcesses(deps: ProcessesDeps): Processes {
  const { libc } = deps;
  const table: Table = {
    deps,
    byPid: new Map(),
    byThread: new Map(),
    ends: createEnds(deps),
    strangers: new Set(),
    mainPid: 0,
    mainStatus: undefined,
  };
  const { byThread, ends, strangers } = table;
  return {
    epollFd: ends.epollFd,
    of(tid) {
      const known = byThread.get(tid);
      if (known === undefined) return firstSight(table, tid);
      // A thread's id may have been given to a new process since; a living leader's can't.
      if (known.pid === tid || libc.syscall(SYS.tgkill, known.pid, tid, 0, 0, 0) === 0)
        return known;
      known.threads.delete(tid);
      byThread.delete(tid);
      return firstSight(table, tid);
    },
    threaded(process, tid) {
      process.threaded ||= tid !== process.pid || deps.procfs.threads(process.pid) > 1;
      return process.threaded;
    },
    adopt(pid) {
      table.mainPid = pid;
      for (const other of deps.procfs.descendants(deps.self)) strangers.add(other);
      strangers.delete(pid);
      add(table, pid, ends.open(pid));
    },
    reap() {
      for (const pid of ends.due()) {
        const process = table.byPid.get(pid);
        if (process !== undefined) remove(table, process, ends.status(process));
      }
      ends.waitForChildren();
    },
    sweep() {
      for (const process of [...table.byPid.values()]) {
        const status = deps.procfs.zombieStatus(process.pid);
        if (status !== undefined) remove(table, process, status);
      }
    },
    living: () => deps.procfs.descendants(deps.self).filter((pid) => !table.strangers.has(pid)),
    known: () => table.byPid.size,
    mainStatus: () => table.mainStatus,
  };
}

function add(table: Table, pid: number, pidfd: number): Process {
  const { deps, ends, byPid, byThread } = table;
  const ppid = ends.parent(pidfd) || deps.procfs.status(pid, 'PPid');
  const orphan = ppid === deps.self && pid !== table.mainPid;
  if (ppid !== deps.self && ppid > 1 && !byPid.has(ppid)) {
    const parentFd = ends.open(ppid);
    if (parentFd >= 0) add(table, ppid, parentFd);
  }
  const threads = new Set([pid]);
  const process: Process = {
    pid,
    pidfd,
    ppid,
    pending: undefined,
    dns: undefined,
    threads,
    threaded: false,
  };
  byPid.set(pid, process);
  byThread.set(pid, process);
  if (pidfd >= 0) ends.watch(pid, pidfd);
  // An orphan's parent is gone, so its tool call can only come from its own environment.
  deps.writer.put(FRAME.process, pid, ppid, 0, 0, orphan ? [deps.keysOf(pid)] : []);
  return process;
}

/** A process id opens as a pidfd; a mere thread's does not. */
function firstSight(table: Table, tid: number): Process {
  const pidfd = table.ends.open(tid);
  if (pidfd >= 0) return add(table, tid, pidfd);
  const tgid = table.deps.procfs.status(tid, 'Tgid') || tid;
  const process =
    table.byPid.get(tgid) ?? add(table, tgid, tgid === tid ? -1 : table.ends.open(tgid));
  table.byThread.set(tid, process);
  process.threads.add(tid);
  return process;
}

function remove(table: Table, process: Process, status: number): void {
  const { deps, byPid, byThread } = table;
  const { pid, pending } = process;
  if (pending !== undefined) {
    deps.writer.put(FRAME.execLost, pid, lostError(table, process, status), 0, 0, []);
  }
  deps.writer.put(FRAME.exit, pid, status, 0, 0, []);
  if (pid === table.mainPid) table.mainStatus = status;
  for (const tid of process.threads) if (byThread.get(tid) === process) byThread.delete(tid);
  byPid.delete(pid);
  if (process.pidfd >= 0) deps.libc.close(process.pidfd);
}

/**
 * Why the last exec of a process that is gone may have failed; 0 where it may as well have run.
 * Who could not exec ends with a code of its own that is not 0; a signal or a 0 says nothing.
 */
function lostError(table: Table, process: Process, status: number): number {
  const { procfs, self } = table.deps;
  if (status === 0 || (status & SIGNAL_MASK) !== 0) return 0;
  // Its root is gone with it. Ours is the same unless it changed it; then its parent's may be, as
  // long as that lives: through a dead one nothing is found.
  const error = execError(procfs, process.pending, self);
  const { ppid } = process;
  if (error === 0 || ppid <= 1 || ppid === self) return error;
  const byParent = execError(procfs, process.pending, ppid);
  return procfs.access(ppid, AT_FDCWD, ROOT, F_OK) === 0 ? byParent : error;
}

/** How processes end, as the kernel tells it. */
interface Ends {
  readonly epollFd: number;
  /** A pidfd, or -1. */
  open(pid: number): number;
  parent(pidfd: number): number;
  watch(pid: number, pidfd: number): void;
  /** The processes whose ends are due. */
  due(): number[];
  /** The wait status of one of them, or NO_NUMBER. */
  status(process: Process): number;
  waitForChildren(): void;
}

function createEnds(deps: ProcessesDeps): Ends {
  const { libc, procfs, exitState } = deps;
  const epollFd = libc.epollCreate(EPOLL_CLOEXEC);
  if (epollFd < 0) throw new Error(`epoll_create1: errno ${errno()}`);
  const events = Buffer.alloc(4096);
  const info = Buffer.alloc(4096);
  const status = Buffer.alloc(4096);
  const waited = new Map<number, number>();
  // A hang-up (always told) comes when the process was waited for; "readable" when it died.
  const wanted = exitState ? EPOLLHUP : EPOLLIN;
  const ask = (pidfd: number, what: number): boolean => {
    if (pidfd < 0) return false;
    info.fill(0, 0, INFO_BYTES);
    info.writeUInt32LE(what, 0);
    const answered = libc.ioctl(pidfd, IOCTL_PIDFD_GET_INFO, info) === 0;
    return answered && (info.readUInt32LE(0) & what) !== 0;
  };
  /** Orphans come to us. Where exit state is kept (SIGCHLD ignored) the kernel reaps them. */
  const waitForChildren = () => {
    if (exitState) return;
    for (let pid = 1; pid > 0; ) {
      pid = libc.waitpid(-1, status, WNOHANG);
      if (pid > 0) waited.set(pid, status.readUInt32LE(0));
    }
  };
  return {
    epollFd,
    open: (pid) => libc.syscall(SYS.pidfd_open, pid, 0, 0, 0, 0),
    parent: (pidfd) => (ask(pidfd, PIDFD_INFO_PID) ? info.readUInt32LE(INFO_PPID) : 0),
    watch(pid, pidfd) {
      events.writeUInt32LE(exitState ? 0 : EPOLLIN, 0);
      events.writeUInt32LE(pid, 4);
      events.writeUInt32LE(0, 8);
      libc.epollCtl(epollFd, EPOLL_CTL_ADD, pidfd, events);
    },
    due() {
      const pids: number[] = [];
      const count = libc.epollWait(epollFd, events, EVENTS_MAX, 0);
      for (let at = 0; at < count * EPOLL_EVENT_BYTES; at += EPOLL_EVENT_BYTES)
        if ((events.readUInt32LE(at) & wanted) !== 0) pids.push(events.readUInt32LE(at + 4));
      return pids;
    },
    status(process) {
      if (exitState)
        return ask(process.pidfd, PIDFD_INFO_EXIT) ? info.readUInt32LE(INFO_EXIT_CODE) : NO_NUMBER;
      const dead = procfs.zombieStatus(process.pid);
      waitForChildren();
      const own = waited.get(process.pid);
      waited.delete(process.pid);
      return own ?? dead ?? NO_NUMBER;
    },
    waitForChildren,
  };
}
