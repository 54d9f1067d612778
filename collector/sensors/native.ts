/**
 * The C library through koffi, as little of it as is needed. Everything is called from one thread
 * of a process of its own; buffers that the kernel fills live in one arena that never moves.
 */
import koffi from 'koffi';

type Pointer = Buffer | null;

function bind() {
  // The symbols of the running program: glibc or musl, whichever node was linked with.
  const libc = koffi.load(null);
  const func = <T extends (...args: never[]) => unknown>(definition: string): T =>
    libc.func(definition) as unknown as T;
  return {
    syscall: func<(n: number, a: number, b: number, c: number, d: number, e: number) => number>(
      'long syscall(long n, long a, long b, long c, long d, long e)',
    ),
    /** seccomp(2): its third argument is a pointer. */
    syscallPointer: func<(n: number, a: number, b: number, c: Pointer) => number>(
      'long syscall(long n, long a, long b, void *c)',
    ),
    ioctl: func<(fd: number, request: number, at: Pointer) => number>(
      'int ioctl(int fd, ulong r, void *p)',
    ),
    ioctlNumber: func<(fd: number, request: number, value: number) => number>(
      'int ioctl(int fd, ulong r, ulong v)',
    ),
    poll: func<(fds: Pointer, count: number, timeoutMs: number) => number>(
      'int poll(void *p, ulong n, int t)',
    ),
    epollCreate: func<(flags: number) => number>('int epoll_create1(int flags)'),
    epollCtl: func<(ep: number, op: number, fd: number, event: Pointer) => number>(
      'int epoll_ctl(int e, int op, int fd, void *ev)',
    ),
    epollWait: func<(ep: number, events: Pointer, count: number, timeoutMs: number) => number>(
      'int epoll_wait(int e, void *ev, int n, int t)',
    ),
    processVmReadv: func<
      (pid: number, l: Pointer, ln: number, r: Pointer, rn: number, flags: number) => number
    >('long process_vm_readv(int pid, void *l, ulong ln, void *r, ulong rn, ulong f)'),
    readlink: func<(path: Pointer, into: Pointer, size: number) => number>(
      'long readlink(void *p, void *b, ulong n)',
    ),
    faccessat: func<(dir: number, path: Pointer, mode: number, flags: number) => number>(
      'int faccessat(int d, void *p, int m, int f)',
    ),
    open: func<(path: Pointer, flags: number, mode: number) => number>(
      'int open(void *p, int f, int m)',
    ),
    read: func<(fd: number, into: Pointer, size: number) => number>(
      'long read(int fd, void *b, ulong n)',
    ),
    pread: func<(fd: number, into: Pointer, size: number, at: number) => number>(
      'long pread(int fd, void *b, ulong n, long o)',
    ),
    write: func<(fd: number, from: Pointer, size: number) => number>(
      'long write(int fd, void *b, ulong n)',
    ),
    close: func<(fd: number) => number>('int close(int fd)'),
    dup2: func<(from: number, to: number) => number>('int dup2(int a, int b)'),
    fcntl: func<(fd: number, command: number, value: number) => number>(
      'int fcntl(int fd, int c, long v)',
    ),
    prctl: func<(option: number, a: number, b: number, c: number, d: number) => number>(
      'int prctl(int o, ulong a, ulong b, ulong c, ulong d)',
    ),
    signal: func<(signal: number, handler: number) => unknown>('void *signal(int s, intptr_t h)'),
    kill: func<(pid: number, signal: number) => number>('int kill(int pid, int s)'),
    waitpid: func<(pid: number, status: Pointer, options: number) => number>(
      'int waitpid(int pid, void *st, int o)',
    ),
    posixSpawn: func<
      (pid: Pointer, path: string, fa: null, at: null, argv: Pointer, envp: Pointer) => number
    >('int posix_spawn(void *pid, const char *p, void *fa, void *at, void *argv, void *envp)'),
    execve: func<(path: string, argv: Pointer, envp: Pointer) => number>(
      'int execve(const char *p, void *argv, void *envp)',
    ),
    socketpair: func<(domain: number, type: number, protocol: number, fds: Pointer) => number>(
      'int socketpair(int d, int t, int p, void *fds)',
    ),
    socket: func<(domain: number, type: number, protocol: number) => number>(
      'int socket(int d, int t, int p)',
    ),
    connect: func<(fd: number, address: Pointer, size: number) => number>(
      'int connect(int fd, void *a, uint n)',
    ),
    getsockopt: func<(fd: number, level: number, name: number, v: Pointer, n: Pointer) => number>(
      'int getsockopt(int fd, int l, int o, void *v, void *n)',
    ),
    sendmsg: libc.func('long sendmsg(int fd, void *m, int f)'),
    recvmsg: func<(fd: number, message: Pointer, flags: number) => number>(
      'long recvmsg(int fd, void *m, int f)',
    ),
    geteuid: func<() => number>('uint geteuid()'),
  };
}

export type Libc = ReturnType<typeof bind>;

/** Binds the functions. Throws where koffi has no build for this platform. */
export function loadLibc(): Libc {
  return bind();
}

export const errno = (): number => koffi.errno();

/** Where a buffer lies, as the kernel wants it in a structure. */
export const addressOf = (buffer: Buffer): bigint => koffi.address(buffer);

/** An array of C strings ended by NULL; keep the returned buffers as long as it is in use. */
export interface CStrings {
  readonly array: Buffer;
  readonly keep: readonly Buffer[];
}

export function cStrings(strings: readonly string[]): CStrings {
  const array = Buffer.alloc(8 * (strings.length + 1));
  const keep = strings.map((text, index) => {
    const bytes = Buffer.from(`${text}\0`);
    array.writeBigUInt64LE(addressOf(bytes), 8 * index);
    return bytes;
  });
  return { array, keep };
}

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/** A `struct msghdr` of one byte with room for one file descriptor beside it. */
export interface FdMessage {
  readonly header: Buffer;
  readonly control: Buffer;
  readonly keep: readonly Buffer[];
}

export function fdMessage(fd?: number): FdMessage {
  const data = Buffer.alloc(4096);
  const control = Buffer.alloc(4096);
  const vector = Buffer.alloc(4096);
  const header = Buffer.alloc(4096);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(1n, 8);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(addressOf(control), 32);
  header.writeBigUInt64LE(24n, 40);
  if (fd !== undefined) {
    control.writeBigUInt64LE(20n, 0);
    control.writeInt32LE(SOL_SOCKET, 8);
    control.writeInt32LE(SCM_RIGHTS, 12);
    control.writeInt32LE(fd, 16);
  }
  return { header, control, keep: [data, control, vector] };
}
