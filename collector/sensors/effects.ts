/** File and network frames as events. Pure; what it remembers per process is handed to it. */
import type { DraftOf } from '#schemas';
import { type Address, isLoopback, readAddress, readDnsQuestion } from './address.ts';
import { absolutePath, textsOf } from './bytes.ts';
import { FILE_OPS, FLAG_TMPFILE, FLAG_UNREADABLE, type Frame, NET_OPS, NO_NUMBER } from './wire.ts';

type FileFields = Omit<DraftOf<'file'>, keyof Envelope>;
type NetFields = Omit<DraftOf<'net'>, keyof Envelope>;
type Envelope = Pick<DraftOf<'file'>, 'kind' | 'ts' | 'source' | 'assurance'>;

const NOTHING = Buffer.alloc(0);
const UNREADABLE = '(unreadable)';
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const IPPROTO_MPTCP = 262;
const AF_UNSPEC = 0;
const AF_NETLINK = 16;
/** A name that was asked for is tied to a connection within this time. */
const DNS_WINDOW_NS = 5e9;
const NAMES_MAX = 64;
/** Datagram destinations of one process that are told only once. */
const DESTINATIONS_MAX = 1024;

/** What the names and destinations of one process are, for as long as it lives. */
export interface NetMemory {
  names: { host: string; ns: number }[];
  readonly told: Set<string>;
}

export const netMemory = (): NetMemory => ({ names: [], told: new Set() });

/** Names of the fields that hold escaped text, for `attrs`. */
export function escapedAttrs(
  fields: Readonly<Record<string, boolean>>,
): { readonly escaped: string } | undefined {
  const names = Object.keys(fields).filter((name) => fields[name]);
  return names.length === 0 ? undefined : { escaped: names.join(',') };
}

/** The event of a file frame; undefined where it was about no file (a chmod of a socket). */
export function fileFields(frame: Frame): FileFields | undefined {
  const op = FILE_OPS[frame.a];
  const [dir = NOTHING, path = NOTHING, dir2 = NOTHING, path2] = frame.parts;
  if (op === undefined) return undefined;
  const mode = frame.b === NO_NUMBER ? {} : { file_mode: frame.b.toString(8).padStart(4, '0') };
  if ((frame.flags & FLAG_UNREADABLE) !== 0)
    return { file_op: op, file_path: UNREADABLE, ...mode, attrs: { unreadable: 'memory' } };
  const second = path2 === undefined ? undefined : absolutePath(dir2, path2);
  // The text of a symbolic link is relative to the directory that the link is in.
  const from = op === 'symlink' && second !== undefined ? parent(second) : dir;
  const first = absolutePath(from, path);
  if (op === 'mode' && first[0] !== SLASH) return undefined;
  const one = textsOf([first]);
  const two = second === undefined ? undefined : textsOf([second]);
  const attrs = {
    ...escapedAttrs({ file_path: one.escaped, file_target_path: two?.escaped ?? false }),
    ...((frame.flags & FLAG_TMPFILE) === 0 ? {} : { unnamed: 'O_TMPFILE' }),
  };
  return {
    file_op: op,
    file_path: one.texts[0] ?? '',
    ...(two === undefined ? {} : { file_target_path: two.texts[0] ?? '' }),
    ...mode,
    ...(Object.keys(attrs).length === 0 ? {} : { attrs }),
  };
}

const SLASH = 0x2f;
const parent = (path: Buffer) => path.subarray(0, Math.max(1, path.lastIndexOf(SLASH)));

/** The event of a network frame; undefined where it tells nothing new. */
export function netFields(frame: Frame, ns: number, memory: NetMemory): NetFields | undefined {
  const op = NET_OPS[frame.a];
  const [raw = NOTHING, cwd = NOTHING, payload = NOTHING] = frame.parts;
  const address = readAddress(raw, cwd);
  if (op === undefined || address === undefined) return undefined;
  if (address.family === 'other') return otherFamily(op, address.number);
  const question = op === 'send' && payload.length > 0 ? readDnsQuestion(payload) : undefined;
  if (question !== undefined && address.family === 'ip') {
    memory.names = [...memory.names.slice(-NAMES_MAX), { host: question, ns }];
    return { net_op: 'dns', net_host: question, ...ipFields(address, frame.b) };
  }
  if (op === 'send' && !isNews(memory, address)) return undefined;
  const net_op = op === 'bind' ? 'bind' : 'connect';
  const attrs = op === 'send' ? { attrs: { via: 'send' } } : {};
  if (address.family === 'unix') return { net_op, ...unixFields(address.path, attrs.attrs) };
  const host = net_op === 'connect' ? hostOf(memory, address.ip, address.port, ns) : undefined;
  return {
    net_op,
    ...ipFields(address, frame.b),
    ...(host === undefined
      ? attrs
      : { net_host: host, attrs: { ...attrs.attrs, net_host_from: 'recent_dns_question' } }),
  };
}

function otherFamily(op: (typeof NET_OPS)[number], number: number): NetFields | undefined {
  // Every name look-up of glibc binds a netlink socket, and AF_UNSPEC takes a connection back.
  if (number === AF_NETLINK || number === AF_UNSPEC || op === 'send') return undefined;
  return { net_op: op, net_transport: 'other', attrs: { address_family: String(number) } };
}

function unixFields(path: Buffer, attrs: Readonly<Record<string, string>> | undefined) {
  const { texts, escaped } = textsOf([path]);
  const all = { ...attrs, ...escapedAttrs({ net_path: escaped }) };
  return {
    net_transport: 'unix' as const,
    ...(path.length === 0 ? {} : { net_path: texts[0] ?? '' }),
    ...(Object.keys(all).length === 0 ? {} : { attrs: all }),
  };
}

function ipFields(address: { ip: string; port: number }, protocol: number) {
  return {
    ...(protocol === NO_NUMBER ? {} : { net_transport: transport(protocol) }),
    net_ip: address.ip,
    net_port: address.port,
  };
}

function transport(protocol: number): 'tcp' | 'udp' | 'other' {
  if (protocol === IPPROTO_TCP || protocol === IPPROTO_MPTCP) return 'tcp';
  return protocol === IPPROTO_UDP ? 'udp' : 'other';
}

/** Whether a datagram's destination is told for the first time. */
function isNews(memory: NetMemory, address: Address): boolean {
  const name =
    address.family === 'ip'
      ? `${address.ip} ${address.port}`
      : address.family === 'unix'
        ? address.path.toString('latin1')
        : '';
  if (memory.told.has(name)) return false;
  if (memory.told.size >= DESTINATIONS_MAX) memory.told.clear();
  memory.told.add(name);
  return true;
}

/**
 * The one name that the process asked for a moment ago; undefined where it asked for several, since
 * the answers aren't seen. Names that a search list made longer count as the shortest.
 */
function hostOf(memory: NetMemory, ip: string, port: number, ns: number): string | undefined {
  if (port === DNS_PORT || isLoopback(ip)) return undefined;
  memory.names = memory.names.filter((name) => ns - name.ns <= DNS_WINDOW_NS);
  const hosts = memory.names.map((name) => name.host).sort((a, b) => a.length - b.length);
  const [shortest] = hosts;
  return hosts.every((host) => host === shortest || host.startsWith(`${shortest}.`))
    ? shortest
    : undefined;
}

const DNS_PORT = 53;
