/**
 * A listening SOCK_SEQPACKET socket of the unix domain, which `node:net` has not: whole messages in
 * order (unix(7)). Nothing here blocks; what is there is asked for.
 */
import fs from 'node:fs';
import koffi from 'koffi';
import { errno } from '../sensors/native.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_FLAGS = 0o2000000 | 0o4000; // SOCK_CLOEXEC | SOCK_NONBLOCK
const MSG_TRUNC = 0x20;
const MSG_NOSIGNAL = 0x4000;
const BACKLOG = 16;
const PATH_BYTES_MAX = 107;

export interface Listener {
  /** The next connection that waits; undefined where none does. */
  accept(): number | undefined;
  /**
   * The next message of a connection, in a buffer of its own: `undefined` where none waits,
   * `'end'` where none comes any more, `'cut'` where it was longer than `bytesMax` and is lost.
   */
  receive(connection: number): Buffer | undefined | 'end' | 'cut';
  send(connection: number, message: Uint8Array): void;
  hangUp(connection: number): void;
  close(): void;
}

type Call<A extends unknown[]> = (...args: A) => number;

function bind() {
  const libc = koffi.load(null);
  const func = <A extends unknown[]>(definition: string) =>
    libc.func(definition) as unknown as Call<A>;
  return {
    socket: func<[number, number, number]>('int socket(int d, int t, int p)'),
    bind: func<[number, Buffer, number]>('int bind(int fd, void *a, uint n)'),
    listen: func<[number, number]>('int listen(int fd, int n)'),
    accept4: func<[number, null, null, number]>('int accept4(int fd, void *a, void *n, int f)'),
    recv: func<[number, Buffer, number, number]>('long recv(int fd, void *b, ulong n, int f)'),
    send: func<[number, Buffer, number, number]>('long send(int fd, void *b, ulong n, int f)'),
  };
}

/** Listens at `path`. Throws an error that names what failed, with the system's number of why. */
export function listenSeqpacket(path: string, bytesMax: number): Listener {
  const name = Buffer.from(path);
  if (name.length > PATH_BYTES_MAX)
    throw new Error(`${JSON.stringify(path)} is longer than ${PATH_BYTES_MAX} bytes`);
  const libc = bind();
  const must = (what: string, result: number): number => {
    if (result < 0) throw new Error(`${what} of ${JSON.stringify(path)} failed: errno ${errno()}`);
    return result;
  };
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = must('socket(2)', libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_FLAGS, 0));
  try {
    must('bind(2)', libc.bind(fd, address, address.length));
    must('listen(2)', libc.listen(fd, BACKLOG));
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  const buffer = Buffer.alloc(bytesMax);
  return {
    accept() {
      const connection = libc.accept4(fd, null, null, SOCK_FLAGS);
      return connection < 0 ? undefined : connection;
    },
    receive(connection) {
      const bytes = libc.recv(connection, buffer, buffer.length, MSG_TRUNC);
      if (bytes < 0) return errno() === koffi.os.errno.EAGAIN ? undefined : 'end';
      if (bytes > buffer.length) return 'cut';
      return bytes === 0 ? 'end' : Buffer.from(buffer.subarray(0, bytes));
    },
    send(connection, message) {
      libc.send(connection, Buffer.from(message), message.length, MSG_NOSIGNAL);
    },
    hangUp: (connection) => fs.closeSync(connection),
    close() {
      fs.closeSync(fd);
      fs.rmSync(path, { force: true });
    },
  };
}
