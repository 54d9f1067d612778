/**
 * gVisor's trace points, as its remote sink sends them (`runsc trace create`); `gvisor_session.json`
 * beside this file asks for all that is read here. A system call is told when it is over.
 */
import { constants as flagsOfFiles } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { getSystemErrorName } from 'node:util';
import { readAddress } from '../sensors/address.ts';
import {
  type FeedFact,
  type FeedFields,
  type FeedFormat,
  type Fields,
  fieldsOf,
  known,
  NOTHING,
  numberOf,
  pidOf,
  textOf,
} from './facts.ts';
import { decodePoint, type PointName } from './gvisor-points.ts';

/** What the sink hands on: one message, or how many were dropped before it. */
export type SinkItem =
  | { readonly number: number; readonly payload: Uint8Array }
  | { readonly dropped: number; readonly ts: string };

interface Seen {
  readonly ts: string;
  readonly point: Fields;
  readonly context: Fields;
}

const attrsOf = ({ context }: Seen, more: Readonly<Record<string, string>> = {}) => {
  const container = textOf(context.containerId);
  return { attrs: { ...more, ...(container === undefined ? {} : { 'container.id': container }) } };
};

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];

function environmentOf(list: unknown): Record<string, string> {
  const pairs = textsOf(list).map((entry): [string, string] => {
    const at = entry.indexOf('=');
    return [entry.slice(0, Math.max(at, 0)), entry.slice(at + 1)];
  });
  return Object.fromEntries(pairs.filter(([name]) => name !== ''));
}

function exec(seen: Seen): FeedFields | undefined {
  const { ts, point, context } = seen;
  const argv = textsOf(point.argv);
  const exe = textOf(point.binaryPath) ?? argv[0];
  if (exe === undefined) return undefined;
  const keys = environmentOf(point.env);
  return {
    ...{ kind: 'exec', ts, exe, argv, outcome: 'success' },
    ...known({ cwd: textOf(context.cwd) }),
    ...(Object.keys(keys).length === 0 ? {} : { join_keys: keys }),
    ...attrsOf(seen),
  };
}

const SIGNALS = new Map(Object.entries(constants.signals).map(([name, value]) => [value, name]));
const SIGNAL_BITS = 0x7f;

/** A wait status: the low seven bits are the signal, the second byte is the code. */
function exit(seen: Seen): FeedFields {
  const status = numberOf(seen.point.exitStatus) ?? 0;
  const signal = status & SIGNAL_BITS;
  const how =
    signal === 0
      ? { exit_code: (status >>> 8) & 0xff }
      : { exit_signal: SIGNALS.get(signal as NodeJS.Signals & number) ?? String(signal) };
  return { kind: 'exit', ts: seen.ts, ...how, ...attrsOf(seen) };
}

/** How a call ended; undefined where it is not over, or goes on by itself. */
function resultOf({ point }: Seen): string | undefined {
  const errorno = numberOf(fieldsOf(point.exit)?.errorno) ?? 0;
  if (errorno === 0) return 'SUCCESS';
  return errorno === constants.errno.EINPROGRESS ? undefined : errnoName(errorno);
}
function errnoName(errorno: number): string {
  try {
    return getSystemErrorName(-errorno);
  } catch {
    return `errno ${errorno}`;
  }
}

const isOver = ({ point }: Seen): boolean => fieldsOf(point.exit) !== undefined;

const { O_CREAT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY } = flagsOfFiles;
const WRITES = O_WRONLY | O_RDWR | O_TRUNC | O_CREAT;
const MAKES = O_CREAT | O_EXCL;
/** creat(2) has no flags; its number is x86's, other machines have no such call. */
const CREAT = 85;

/** An open for writing. Where only reading was asked for, nothing is told: libraries would be most of it. */
function open(seen: Seen): FeedFields | undefined {
  const { ts, point, context } = seen;
  const name = textOf(point.pathname);
  const flags = numberOf(point.flags) ?? 0;
  const writes = (flags & WRITES) !== 0 || numberOf(point.sysno) === CREAT;
  if (name === undefined || !writes || !isOver(seen)) return undefined;
  const base = textOf(point.fdPath) ?? textOf(context.cwd) ?? '';
  const file_path = path.posix.isAbsolute(name) ? name : path.posix.join(base, name);
  const file_op = (flags & MAKES) === MAKES ? 'create' : 'write';
  const result = resultOf(seen) ?? 'EINPROGRESS';
  return { kind: 'file', ts, file_op, file_path, ...attrsOf(seen, { result }) };
}

/** Where a `struct sockaddr` leads to. */
function addressOf({ point, context }: Seen) {
  const { address } = point;
  if (!(address instanceof Uint8Array)) return undefined;
  const cwd = Buffer.from(textOf(context.cwd) ?? '/');
  const found = readAddress(Buffer.from(address), cwd);
  if (found?.family === 'ip') return { net_ip: found.ip, net_port: found.port };
  return found?.family === 'unix'
    ? { net_transport: 'unix' as const, net_path: found.path.toString() }
    : undefined;
}

const socketCall =
  (net_op: 'connect' | 'bind' | 'listen') =>
  (seen: Seen): FeedFields | undefined => {
    const address = addressOf(seen);
    if (address === undefined || !isOver(seen)) return undefined;
    const result = resultOf(seen);
    const outcome =
      result === undefined
        ? {}
        : result === 'SUCCESS'
          ? { outcome: 'success' as const }
          : { outcome: 'failure' as const, error: result };
    return { kind: 'net', ts: seen.ts, net_op, ...address, ...outcome, ...attrsOf(seen) };
  };

const syscall =
  (name: string) =>
  (seen: Seen): FeedFields | undefined =>
    isOver(seen)
      ? {
          ...{ kind: 'syscall', ts: seen.ts, syscall: name },
          ...attrsOf(seen, { result: resultOf(seen) ?? 'EINPROGRESS' }),
        }
      : undefined;

const POINTS: Readonly<
  Record<Exclude<PointName, 'CloneInfo'>, (seen: Seen) => FeedFields | undefined>
> = {
  ExecveInfo: exec,
  ExitNotifyParentInfo: exit,
  Open: open,
  Connect: socketCall('connect'),
  Bind: socketCall('bind'),
  Listen: socketCall('listen'),
  Chroot: syscall('chroot'),
  Ptrace: syscall('ptrace'),
};

const TIME_NS = /^[1-8][0-9]{18}$/;

function read(value: unknown): FeedFact | undefined {
  const item = value as SinkItem;
  if ('dropped' in item)
    return {
      what: 'loss',
      ts: item.ts,
      reason: 'gvisor dropped points of its sandbox',
      hostCount: item.dropped,
    };
  const decoded = decodePoint(item.number, item.payload);
  if (decoded === undefined) return NOTHING;
  const { name, fields: point } = decoded;
  const context = fieldsOf(point.context) ?? {};
  const ts = textOf(context.timeNs);
  const pid = pidOf(context.threadGroupId);
  if (ts === undefined || !TIME_NS.test(ts) || pid === undefined) return undefined;
  if (name === 'CloneInfo') {
    const born = pidOf(point.createdThreadGroupId);
    // A thread has its process's own number.
    return born === undefined || born === pid ? NOTHING : { what: 'born', pid: born, ppid: pid };
  }
  const fields = POINTS[name]({ ts, point, context });
  const ppid = pidOf(context.parentThreadGroupId);
  return fields === undefined ? NOTHING : { what: 'event', pid, ...known({ ppid }), fields };
}

export const GVISOR: FeedFormat = { source: 'gvisor', read };
