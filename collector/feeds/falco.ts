/**
 * Falco's alerts as JSON (`json_output: true`), a line each. Which fields an alert has its rule
 * decides; `falco_rules.yaml` beside this file has rules that name all that is read here. Names are
 * those of Falco's reference of supported fields.
 */
import {
  type FeedFact,
  type FeedFields,
  type FeedFormat,
  type Fields,
  fieldsOf,
  known,
  NOTHING,
  numberOf,
  partsOf,
  pidOf,
  portOf,
  textOf,
  timeOf,
} from './facts.ts';

const DROPS = 'Falco internal: syscall event drop';
const INTERNAL = 'Falco internal: ';

/** `evt.res` is SUCCESS, an errno's name, or absent. */
function outcomeOf(f: Fields) {
  const result = textOf(f['evt.res']);
  if (result === undefined) return {};
  return result === 'SUCCESS'
    ? { outcome: 'success' as const }
    : { outcome: 'failure' as const, error: result };
}

const attrsOf = (f: Fields, more: Readonly<Record<string, string>> = {}) => {
  const container = textOf(f['container.id']);
  return {
    attrs: {
      ...more,
      'evt.type': textOf(f['evt.type']) ?? '',
      ...(container === undefined || container === 'host' ? {} : { 'container.id': container }),
    },
  };
};

function exec(ts: string, f: Fields): FeedFields | undefined {
  const exe = textOf(f['proc.exepath']) ?? textOf(f['proc.exe']) ?? textOf(f['proc.name']);
  if (exe === undefined) return undefined;
  const line = textOf(f['proc.cmdline']);
  const cwd = textOf(f['proc.cwd']);
  return {
    kind: 'exec',
    ts,
    exe,
    argv: line === undefined ? [exe] : partsOf(line),
    ...known({ cwd }),
    ...outcomeOf(f),
    ...attrsOf(f, { argv: 'joined by blanks' }),
  };
}

/** `evt.arg.status` is a wait status; older versions have `evt.arg.ret` and `evt.arg.sig`. */
function exit(ts: string, f: Fields): FeedFields {
  const signal = textOf(f['evt.arg.sig']);
  const code = numberOf(f['evt.arg.ret']);
  const status = numberOf(f['evt.arg.status']);
  const killed = signal !== undefined && signal !== '0' && !/^-?1$/.test(signal);
  const exit_code = code ?? (status === undefined ? undefined : (status >>> 8) & 0xff);
  return {
    kind: 'exit',
    ts,
    ...(killed ? { exit_signal: signal } : known({ exit_code })),
    ...attrsOf(f),
  };
}

type FileOp = Extract<FeedFields, { kind: 'file' }>['file_op'];
type NetOp = Extract<FeedFields, { kind: 'net' }>['net_op'];

const FILE_OPS: Readonly<Record<string, FileOp>> = {
  ...{ unlink: 'delete', unlinkat: 'delete', rmdir: 'rmdir', mkdir: 'mkdir', mkdirat: 'mkdir' },
  ...{ rename: 'rename', renameat: 'rename', renameat2: 'rename', link: 'link', linkat: 'link' },
  ...{ symlink: 'symlink', symlinkat: 'symlink', chmod: 'mode', fchmodat: 'mode', mknod: 'mknod' },
  ...{ mknodat: 'mknod', truncate: 'truncate' },
};
const OPENS = new Set(['open', 'openat', 'openat2', 'creat']);

function file(ts: string, f: Fields, type: string): FeedFields | undefined {
  const opened = OPENS.has(type);
  const path = opened
    ? textOf(f['fd.name'])
    : (textOf(f['fs.path.source']) ?? textOf(f['fs.path.name']) ?? textOf(f['fd.name']));
  if (path === undefined) return undefined;
  const flags = textOf(f['evt.arg.flags']) ?? '';
  const writes = /O_(WRONLY|RDWR|CREAT|TRUNC)/.test(flags) || type === 'creat';
  const opens: FileOp = /O_F_CREATED/.test(flags) ? 'create' : writes ? 'write' : 'read';
  const file_op = opened ? opens : FILE_OPS[type];
  if (file_op === undefined) return undefined;
  const file_target_path = textOf(f['fs.path.target']);
  const fields = { kind: 'file', ts, file_op, file_path: path } as const;
  return { ...fields, ...known({ file_target_path }), ...outcomeAttrs(f) };
}

/** Files have no outcome of their own: it stands in `attrs`. */
function outcomeAttrs(f: Fields) {
  const result = textOf(f['evt.res']);
  return attrsOf(f, result === undefined ? {} : { result });
}

const NET_OPS: Readonly<Record<string, NetOp>> = {
  ...{ connect: 'connect', sendto: 'connect', sendmsg: 'connect', bind: 'bind', listen: 'listen' },
};

function net(ts: string, f: Fields, type: string): FeedFields | undefined {
  const op = NET_OPS[type];
  if (op === undefined) return undefined;
  const name = textOf(f['fd.name']);
  const common = { kind: 'net', ts, net_op: op, ...outcomeOf(f), ...attrsOf(f) } as const;
  if (textOf(f['fd.type']) === 'unix')
    return { ...common, net_transport: 'unix', ...known({ net_path: name }) };
  const local = op !== 'connect';
  const net_ip = textOf(f[local ? 'fd.lip' : 'fd.rip']) ?? textOf(f['fd.sip']);
  const net_port = portOf(f[local ? 'fd.lport' : 'fd.rport']) ?? portOf(f['fd.sport']);
  const net_host = textOf(f['fd.sip.name']);
  if (net_ip === undefined) return undefined;
  const proto = textOf(f['fd.l4proto']);
  const net_transport = proto === 'tcp' || proto === 'udp' ? proto : undefined;
  return { ...common, ...known({ net_ip, net_port, net_host, net_transport }) };
}

const SYSCALLS = new Set([
  ...['ptrace', 'mount', 'umount', 'umount2', 'setns', 'unshare', 'bpf', 'pivot_root', 'chroot'],
  ...['init_module', 'finit_module', 'process_vm_writev', 'memfd_create', 'io_uring_setup'],
]);

function fieldsFor(ts: string, f: Fields, type: string): FeedFields | undefined {
  if (type === 'execve' || type === 'execveat') return exec(ts, f);
  if (type === 'procexit') return exit(ts, f);
  if (OPENS.has(type) || Object.hasOwn(FILE_OPS, type)) return file(ts, f, type);
  if (Object.hasOwn(NET_OPS, type)) return net(ts, f, type);
  if (SYSCALLS.has(type)) return { kind: 'syscall', ts, syscall: type, ...outcomeAttrs(f) };
  return undefined;
}

function read(line: unknown): FeedFact | undefined {
  const alert = fieldsOf(line);
  const f = fieldsOf(alert?.output_fields);
  const rule = textOf(alert?.rule);
  const ts = timeOf(alert?.time);
  if (alert === undefined || rule === undefined || ts === undefined) return undefined;
  if (rule === DROPS) {
    const hostCount = numberOf(f?.n_drops);
    return { what: 'loss', ts, reason: 'falco dropped system calls', ...known({ hostCount }) };
  }
  const source = textOf(alert.source);
  if (rule.startsWith(INTERNAL) || (source !== undefined && source !== 'syscall')) return NOTHING;
  if (f === undefined) return undefined;
  const type = textOf(f['evt.type']);
  const pid = pidOf(f['proc.pid']);
  const ppid = pidOf(f['proc.ppid']);
  // An alert of a rule that names no process or call: some other rule's, for a person to read.
  if (type === undefined || pid === undefined) return NOTHING;
  if (/^(clone|clone3|fork|vfork)$/.test(type))
    return ppid === undefined ? NOTHING : { what: 'born', pid, ppid };
  const fields = fieldsFor(ts, f, type);
  return fields === undefined ? NOTHING : { what: 'event', pid, ...known({ ppid }), fields };
}

export const FALCO: FeedFormat = { source: 'falco', read };
