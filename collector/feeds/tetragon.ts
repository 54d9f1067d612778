/**
 * Tetragon's export (`--export-filename`, or `tetra getevents -o json`): a `GetEventsResponse` a
 * line, as protobuf writes it in JSON with the names of `events.proto`. Programs and their ends come
 * without any policy; files, connections and calls need a TracingPolicy that hooks them.
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

/** Argument vectors are shell-quoted where they have blanks: `-c "curl https://…"`. */
function argumentsOf(line: string | undefined): string[] {
  if (line === undefined) return [];
  const parts = line.match(/"(?:\\.|[^"\\])*"|\S+/g) ?? [];
  return parts.map((part) =>
    part.length >= 2 && part.startsWith('"') && part.endsWith('"') ? part.slice(1, -1) : part,
  );
}

function environmentOf(process: Fields): Record<string, string> {
  const list = Array.isArray(process.environment_variables) ? process.environment_variables : [];
  const pairs = list.flatMap((item): [string, string][] => {
    const [key, value] = [textOf(fieldsOf(item)?.key), textOf(fieldsOf(item)?.value)];
    return key === undefined || value === undefined ? [] : [[key, value]];
  });
  return Object.fromEntries(pairs);
}

function attrsOf(process: Fields, more: Readonly<Record<string, string>> = {}) {
  const execId = textOf(process.exec_id);
  const docker = textOf(process.docker);
  return {
    attrs: {
      ...more,
      ...(execId === undefined ? {} : { exec_id: execId }),
      ...(docker === undefined ? {} : { 'container.id': docker }),
    },
  };
}

function exec(ts: string, process: Fields): FeedFields | undefined {
  const exe = textOf(process.binary);
  if (exe === undefined) return undefined;
  const line = textOf(process.arguments);
  const argv = [exe, ...argumentsOf(line)];
  const cwd = textOf(process.cwd);
  const flags = partsOf(textOf(process.flags) ?? '');
  const keys = environmentOf(process);
  const cut = flags.includes('truncArgs') || flags.includes('truncFilename');
  return {
    kind: 'exec',
    ts,
    exe,
    argv,
    outcome: 'success',
    ...known({ cwd }),
    ...(Object.keys(keys).length === 0 ? {} : { join_keys: keys }),
    ...attrsOf(process, { argv: cut ? 'cut, joined by blanks' : 'joined by blanks' }),
  };
}

function exit(ts: string, event: Fields, process: Fields): FeedFields {
  const exit_signal = textOf(event.signal);
  // In protobuf's JSON a zero is left out.
  const exit_code = exit_signal === undefined ? (numberOf(event.status) ?? 0) : undefined;
  return { kind: 'exit', ts, ...known({ exit_code, exit_signal }), ...attrsOf(process) };
}

type Argument = Fields | undefined;
const argumentsIn = (event: Fields): Argument[] =>
  (Array.isArray(event.args) ? event.args : []).map(fieldsOf);

/** The first argument that is a file, a path or a program. */
function pathIn(args: readonly Argument[]): string | undefined {
  for (const arg of args) {
    const holder =
      fieldsOf(arg?.file_arg) ?? fieldsOf(arg?.path_arg) ?? fieldsOf(arg?.linux_binprm_arg);
    const path = textOf(holder?.path);
    // Older versions leave the first slash out.
    if (path !== undefined) return path.startsWith('/') ? path : `/${path}`;
  }
  return undefined;
}

/** The call as its policy hooked it: `__x64_sys_write`, `sys_write`, `security_file_permission`. */
const callOf = (name: string) => name.replace(/^(__x64_|__arm64_)?sys_/, '');

const FILE_CALLS: Readonly<Record<string, 'write' | 'read' | 'delete' | 'rename' | 'truncate'>> = {
  ...{ write: 'write', vfs_write: 'write', pwrite64: 'write', read: 'read', vfs_read: 'read' },
  ...{ security_path_truncate: 'truncate', truncate: 'truncate', security_path_unlink: 'delete' },
  ...{ unlinkat: 'delete', unlink: 'delete', rename: 'rename', renameat2: 'rename' },
};
/** `security_file_permission(file, mask)` and `security_mmap_file`: MAY_WRITE is 2. */
const PERMISSION_CALLS = new Set(['security_file_permission', 'security_mmap_file']);
const MAY_WRITE = 2;

function fileFields(
  ts: string,
  call: string,
  event: Fields,
  process: Fields,
): FeedFields | undefined {
  const args = argumentsIn(event);
  const path =
    pathIn(args) ?? textOf(args.find((arg) => arg?.string_arg !== undefined)?.string_arg);
  if (path === undefined) return undefined;
  const masks = args.map((arg) => numberOf(arg?.int_arg)).filter((mask) => mask !== undefined);
  const file_op = PERMISSION_CALLS.has(call)
    ? masks.some((mask) => (mask & MAY_WRITE) !== 0)
      ? 'write'
      : 'read'
    : Object.hasOwn(FILE_CALLS, call)
      ? FILE_CALLS[call]
      : undefined;
  if (file_op === undefined) return undefined;
  return { kind: 'file', ts, file_op, file_path: path, ...attrsOf(process, { hook: call }) };
}

function netFields(
  ts: string,
  call: string,
  event: Fields,
  process: Fields,
): FeedFields | undefined {
  const args = argumentsIn(event);
  const socket = args.map((arg) => fieldsOf(arg?.sock_arg)).find((sock) => sock !== undefined);
  const address = args.map((arg) => fieldsOf(arg?.sockaddr_arg)).find((one) => one !== undefined);
  const unix = args.map((arg) => fieldsOf(arg?.sockaddrun_arg)).find((one) => one !== undefined);
  const net_op = /bind/.test(call) ? 'bind' : /listen/.test(call) ? 'listen' : 'connect';
  const common = { kind: 'net', ts, net_op, ...attrsOf(process, { hook: call }) } as const;
  if (unix !== undefined)
    return { ...common, net_transport: 'unix', ...known({ net_path: textOf(unix.path) }) };
  const local = net_op !== 'connect';
  const net_ip = textOf(address?.addr) ?? textOf(local ? socket?.saddr : socket?.daddr);
  const net_port = portOf(address?.port) ?? portOf(local ? socket?.sport : socket?.dport);
  if (net_ip === undefined) return undefined;
  const protocol = textOf(socket?.protocol);
  const net_transport =
    protocol === 'IPPROTO_TCP' ? 'tcp' : protocol === 'IPPROTO_UDP' ? 'udp' : undefined;
  return { ...common, ...known({ net_ip, net_port, net_transport }) };
}

/** What a hook of a policy shows: by its name, else by its arguments, else as a call. */
function hooked(ts: string, event: Fields, process: Fields): FeedFields | undefined {
  const name = textOf(event.function_name) ?? textOf(event.event);
  if (name === undefined) return undefined;
  const call = callOf(name);
  if (/connect|bind|listen|tcp_sendmsg|udp_sendmsg/.test(call)) {
    const fields = netFields(ts, call, event, process);
    if (fields !== undefined) return fields;
  }
  return (
    fileFields(ts, call, event, process) ?? {
      ...{ kind: 'syscall', ts, syscall: call.slice(0, 256) },
      ...attrsOf(process, known({ policy: textOf(event.policy_name) }) as Record<string, string>),
    }
  );
}

/** `process_connect` and `process_close` of older exports have their ends as fields of the event. */
function connected(ts: string, event: Fields, process: Fields): FeedFields | undefined {
  const net_ip = textOf(event.destination_ip);
  if (net_ip === undefined) return undefined;
  const names = Array.isArray(event.destination_names) ? event.destination_names.map(textOf) : [];
  const net_host = names.find((one) => one !== undefined)?.replace(/\.$/, '');
  const protocol = textOf(event.protocol)?.toLowerCase();
  const net_transport = protocol === 'tcp' || protocol === 'udp' ? protocol : undefined;
  const net_port = portOf(event.destination_port);
  return {
    ...{ kind: 'net', ts, net_op: 'connect', ...attrsOf(process) },
    ...known({ net_ip, net_port, net_host, net_transport }),
  } as FeedFields;
}

function eventOf(ts: string, name: string, event: Fields, process: Fields) {
  if (name === 'process_exec') return exec(ts, process);
  if (name === 'process_exit') return exit(ts, event, process);
  if (name === 'process_connect') return connected(ts, event, process);
  return /^process_(kprobe|tracepoint|lsm|uprobe|usdt)$/.test(name)
    ? hooked(ts, event, process)
    : undefined;
}

function lossOf(line: Fields, ts: string): FeedFact | undefined {
  const limited = fieldsOf(line.rate_limit_info);
  if (limited !== undefined) {
    const hostCount = numberOf(limited.number_of_dropped_process_events);
    return {
      what: 'loss',
      ts,
      reason: 'tetragon’s export was over its rate',
      ...known({ hostCount }),
    };
  }
  const throttle = fieldsOf(line.process_throttle);
  if (throttle === undefined) return undefined;
  if (textOf(throttle.type) !== 'THROTTLE_START') return NOTHING;
  const group = textOf(throttle.cgroup) ?? 'unknown';
  return { what: 'loss', ts, reason: `tetragon throttles the cgroup ${JSON.stringify(group)}` };
}

function read(value: unknown): FeedFact | undefined {
  const line = fieldsOf(value);
  const ts = timeOf(line?.time);
  if (line === undefined || ts === undefined) return undefined;
  const loss = lossOf(line, ts);
  if (loss !== undefined) return loss;
  const [name] = Object.keys(line).filter((key) => key.startsWith('process_'));
  const event = name === undefined ? undefined : fieldsOf(line[name]);
  if (name === undefined || event === undefined) return undefined;
  const process = fieldsOf(event.process);
  const pid = pidOf(process?.pid);
  if (process === undefined || pid === undefined) return undefined;
  const parent = pidOf(fieldsOf(event.parent)?.pid);
  // An exec in place has its former self for a parent (TASK of the same number).
  const ppid = parent === pid ? undefined : parent;
  const fields = eventOf(ts, name, event, process);
  return fields === undefined ? NOTHING : { what: 'event', pid, ...known({ ppid }), fields };
}

export const TETRAGON: FeedFormat = { source: 'tetragon', read };
