/** Reads the calls that reach out: socket addresses and, towards port 53, the question. */
import type { CaptureDeps, Captured, Handler } from './capture.ts';
import { signed } from './capture.ts';
import { type Address, isNull } from './memory.ts';
import type { Libc } from './native.ts';
import type { Process } from './processes.ts';
import { SYS } from './syscalls.ts';
import { FRAME, NET_OPS, NO_NUMBER } from './wire.ts';

const NOTHING = Buffer.alloc(0);
const SLASH = 0x2f;
const SOCKADDR_BYTES_MAX = 128;
/** A DNS question over UDP fits (RFC 1035, 2.3.4); what is longer is no question. */
const PAYLOAD_BYTES_MAX = 512;
const DNS_PORT = 53;
const SOL_SOCKET = 1;
const SO_PROTOCOL = 38;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const DNS_SOCKETS_MAX = 64;
const MSGHDR_BYTES = 56;
const MMSGHDR_BYTES = 64;
/** The kernel takes at most so many messages at once (UIO_MAXIOV). */
const MESSAGES_MAX = 1024;

export function netHandlers(deps: CaptureDeps): [number, Handler][] {
  const { memory } = deps;
  const protocolOf = createProtocolOf(deps.libc);
  const frame = (
    op: (typeof NET_OPS)[number],
    process: Process,
    fd: number,
    address: Buffer,
    payload: Buffer,
  ): Captured => {
    const relative = isRelativeUnix(address);
    const cwd = relative ? deps.procfs.link(process.pid, 'cwd') : NOTHING;
    const b = isIp(address) ? protocolOf(process, fd) : NO_NUMBER;
    const a = NET_OPS.indexOf(op);
    return { type: FRAME.net, a, b, flags: 0, parts: [address, cwd, payload] };
  };
  const sockaddr = (pid: number, at: Address, bytes: number): Buffer | undefined =>
    bytes < 2 || isNull(at)
      ? undefined
      : memory.bytes(pid, at, Math.min(bytes, SOCKADDR_BYTES_MAX));

  const named =
    (op: 'connect' | 'bind'): Handler =>
    (call, process) => {
      const address = sockaddr(process.pid, call.address(1), call.low(2));
      if (address === undefined) return [];
      const fd = signed(call.low(0));
      if (op === 'connect') rememberDns(process, fd, address);
      return [frame(op, process, fd, address, NOTHING)];
    };
  const sendto: Handler = (call, process) => {
    const address = sockaddr(process.pid, call.address(4), call.low(5));
    if (address === undefined) return [];
    const size = portOf(address) === DNS_PORT ? Math.min(call.low(2), PAYLOAD_BYTES_MAX) : 0;
    const payload = size === 0 ? undefined : memory.bytes(process.pid, call.address(1), size);
    return [frame('send', process, signed(call.low(0)), address, payload ?? NOTHING)];
  };
  /** One `struct msghdr`: destination and, towards port 53, the first piece of the payload. */
  const message = (process: Process, fd: number, header: Buffer): Captured[] => {
    const sent = sockaddr(process.pid, addressIn(header, 0), header.readUInt32LE(8));
    const address = sent ?? process.dns?.get(fd);
    if (address === undefined) return [];
    if (portOf(address) !== DNS_PORT) return [frame('send', process, fd, address, NOTHING)];
    const vector = memory.bytes(process.pid, addressIn(header, 16), 16);
    if (vector === undefined || vector.length < 16) return [];
    const size = Math.min(vector.readUInt32LE(8), PAYLOAD_BYTES_MAX);
    const payload = size === 0 ? undefined : memory.bytes(process.pid, addressIn(vector, 0), size);
    return [frame('send', process, fd, address, payload ?? NOTHING)];
  };
  const messages =
    (count: (low: (i: number) => number) => number): Handler =>
    (call, process) => {
      const size = count(call.low) * MMSGHDR_BYTES - (MMSGHDR_BYTES - MSGHDR_BYTES);
      const headers = size > 0 ? memory.bytes(process.pid, call.address(1), size) : undefined;
      const captured: Captured[] = [];
      if (headers === undefined) return captured;
      for (let at = 0; at + MSGHDR_BYTES <= headers.length; at += MMSGHDR_BYTES)
        captured.push(...message(process, signed(call.low(0)), headers.subarray(at)));
      return captured;
    };
  return [
    [SYS.connect, named('connect')],
    [SYS.bind, named('bind')],
    [SYS.sendto, sendto],
    [SYS.sendmsg, messages(() => 1)],
    [SYS.sendmmsg, messages((low) => Math.min(low(2), MESSAGES_MAX))],
  ];
}

/** Asks a copy of the descriptor for its protocol; NO_NUMBER where taking one is refused. */
function createProtocolOf(libc: Libc): (process: Process, fd: number) => number {
  const value = Buffer.alloc(4096);
  const size = Buffer.alloc(4096);
  return (process, fd) => {
    const copy = libc.syscall(SYS.pidfd_getfd, process.pidfd, fd, 0, 0, 0);
    if (copy < 0) return NO_NUMBER;
    size.writeUInt32LE(4, 0);
    const ok = libc.getsockopt(copy, SOL_SOCKET, SO_PROTOCOL, value, size) === 0;
    libc.close(copy);
    return ok ? value.readUInt32LE(0) : NO_NUMBER;
  };
}

const familyOf = (address: Buffer) => (address.length >= 2 ? address.readUInt16LE(0) : 0);
const isIp = (address: Buffer) => familyOf(address) === AF_INET || familyOf(address) === AF_INET6;
const isRelativeUnix = (address: Buffer) =>
  familyOf(address) === AF_UNIX && address.length > 2 && address[2] !== 0 && address[2] !== SLASH;
const portOf = (address: Buffer) =>
  isIp(address) && address.length >= 4 ? address.readUInt16BE(2) : 0;

const addressIn = (bytes: Buffer, at: number): Address => ({
  low: bytes.readUInt32LE(at),
  high: bytes.readUInt32LE(at + 4),
});

/** Keeps in mind which descriptors lead to port 53: later sends on them carry no address. */
function rememberDns(process: Process, fd: number, address: Buffer): void {
  if (portOf(address) !== DNS_PORT) {
    process.dns?.delete(fd);
    return;
  }
  process.dns ??= new Map();
  if (process.dns.size < DNS_SOCKETS_MAX) process.dns.set(fd, Buffer.from(address));
}
