/**
 * Which process is at the other end of a connection to the proxy. The kernel's table of sockets
 * (/proc/net/tcp, proc(5)) has the inode of the client's end; a process that holds it has a link
 * `socket:[INODE]` among its descriptors. Looked at when the connection is accepted, while the
 * client still waits for an answer.
 */
import fs from 'node:fs';
import path from 'node:path';

export interface Peer {
  readonly pid: number;
  /** More than one process held the socket: a child that inherited it. */
  readonly shared: boolean;
  /** It does not descend from the collector, so that no sensor of this run will tell of it. */
  readonly outside?: boolean;
}

const GENERATIONS_MAX = 256;
/** Processes whose descriptors are looked at for one connection. */
const PROCESSES_MAX = 4096;

/** An IPv4 address and port as /proc/net/tcp writes them: bytes of the address back to front. */
function entryOf(ip: string, port: number): string {
  const bytes = ip.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return `${bytes.reverse().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

export interface Ends {
  readonly ip: string;
  readonly port: number;
  /** Our own end. A datagram socket of the client's may have none: then it is not compared. */
  readonly own: { readonly ip: string; readonly port: number };
}

/**
 * The inode of the client's socket, out of the kernel's table; undefined where there is none (any
 * more). Columns: number, local and remote end, state, queues, timer, retransmits, uid, timeout,
 * inode.
 */
export function inodeOf(table: string, { ip, port, own }: Ends): number | undefined {
  const locals = [entryOf(ip, port), entryOf('0.0.0.0', port)];
  const remotes = [entryOf(own.ip, own.port), entryOf('0.0.0.0', 0)];
  for (const local of locals)
    for (const remote of remotes) {
      const ends = `: ${local} ${remote} `;
      const at = table.indexOf(ends);
      if (at < 0) continue;
      const inode = Number(table.slice(at + ends.length, at + ends.length + 120).split(/\s+/)[6]);
      if (Number.isInteger(inode) && inode > 0) return inode;
    }
  return undefined;
}

function holds(root: string, pid: number, link: string): boolean {
  const dir = path.join(root, String(pid), 'fd');
  try {
    return fs.readdirSync(dir).some((fd) => {
      try {
        return fs.readlinkSync(path.join(dir, fd)) === link;
      } catch {
        return false;
      }
    });
  } catch {
    // It ended, or is of another user.
    return false;
  }
}

/**
 * Finds the client's process. `likely` are looked at first (those of the session, as the sensor saw
 * them), then all others, newest first. `self` is never it.
 */
export function peerOf(
  protocol: 'tcp' | 'udp',
  ends: Ends,
  likely: readonly number[],
  self: number,
  root = '/proc',
): Peer | undefined {
  let table: string;
  try {
    table = fs.readFileSync(path.join(root, 'net', protocol), 'latin1');
  } catch {
    return undefined;
  }
  const inode = inodeOf(table, ends);
  if (inode === undefined) return undefined;
  const link = `socket:[${inode}]`;
  const first = likely.filter((pid) => pid !== self && holds(root, pid, link));
  if (first.length > 0) return nearest(first);
  const known = new Set([...likely, self]);
  const others = fs
    .readdirSync(root)
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => !known.has(pid))
    .sort((a, b) => b - a)
    .slice(0, PROCESSES_MAX);
  const peer = nearest(others.filter((pid) => holds(root, pid, link)));
  return peer && { ...peer, outside: !descends(root, peer.pid, self) };
}

/**
 * Whether `pid` is below `ancestor`: all that a sensor here records is, since orphans come to its
 * supervisor. True where that can't be read, so that nobody is taken for a stranger by mistake.
 */
export function descends(root: string, pid: number, ancestor: number): boolean {
  let at = pid;
  for (let i = 0; i < GENERATIONS_MAX && at !== ancestor; i++) {
    try {
      const stat = fs.readFileSync(path.join(root, String(at), 'stat'), 'latin1');
      at = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    } catch {
      return true;
    }
    // Nobody is above the first process of a namespace.
    if (at === 0) return false;
  }
  return true;
}

/** Of several that hold it: the one with the lowest number as a rule had it first. */
function nearest(pids: readonly number[]): Peer | undefined {
  const [pid] = [...pids].sort((a, b) => a - b);
  return pid === undefined ? undefined : { pid, shared: pids.length > 1 };
}
