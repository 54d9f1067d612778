/**
 * How Sigma's taxonomy names our events; the one place where the two meet. An event is told as each
 * log source that would have told of it:
 *
 *     event            log source                            fields
 *     exec             linux / process_creation              Image, CommandLine, ParentImage, …
 *                      linux / auditd                        EXECVE: a0 …; SYSCALL: exe, comm, …
 *     file create,     linux / file_event                    TargetFilename, Image, …
 *       write, rename, link …
 *     file delete      linux / file_delete; of its mode: file_change; reads: file_access
 *                      linux / auditd                        PATH: name, nametype
 *     net connect      linux / network_connection            DestinationIp, DestinationPort, …
 *       to a path      linux / auditd alone
 *     net dns          linux / dns_query: QueryName          dns: query
 *     net http         proxy                                 c-uri, cs-method, cs-host, …
 *     any              telltale / <kind>                     our own names; `attrs.key` in maps
 *
 * A field that a view has no mapping for is looked up by our own name, so that a rule on Sigma's
 * fields can be grouped by `session_id`. Keywords are looked for in the view's own fields alone.
 */
import { REGISTRY, type TelltaleEvent } from '../../registry.ts';
import type { Kinship, Program } from '../lineage.ts';
import { type FieldValue, FoldingView, type Logsource, type LogView } from '../values.ts';

type Loose = Readonly<Record<string, FieldValue | undefined>>;

/** What the fields of one event are made from; its views share it. */
class Told {
  readonly event: Loose;
  /** The process that the event is about or that caused it. */
  readonly process: Program | undefined;
  readonly parent: Program | undefined;
  #commandLine: string | undefined;

  constructor(event: Loose, process: Program | undefined, parent: Program | undefined) {
    this.event = event;
    this.process = process;
    this.parent = parent;
  }

  get commandLine(): string | undefined {
    this.#commandLine ??= commandLine(this.process);
    return this.#commandLine;
  }
}
type Make = (told: Told) => FieldValue | undefined;
type Mapping = Readonly<Record<string, Make>>;

const own =
  (name: string): Make =>
  ({ event }) =>
    event[name];

const commandLine = (process: Program | undefined): string | undefined =>
  process === undefined || process.argv.length === 0 ? process?.exe : process.argv.join(' ');

/** The name of a program without its folder, as the kernel keeps it: 15 bytes. */
const comm = (process: Program | undefined): string | undefined => {
  const name = process?.exe.slice(process.exe.lastIndexOf('/') + 1);
  return name === undefined ? undefined : Buffer.from(name).subarray(0, 15).toString();
};

const ACTOR: Mapping = {
  Image: ({ process }) => process?.exe,
  ProcessId: own('pid'),
  User: own('user'),
  Computer: own('host'),
};

const PROCESS_CREATION: Mapping = {
  ...ACTOR,
  CommandLine: (told) => told.commandLine,
  CurrentDirectory: own('cwd'),
  ParentImage: ({ parent }) => parent?.exe,
  ParentCommandLine: ({ parent }) => commandLine(parent),
  ParentProcessId: own('ppid'),
};

const FILE: Mapping = {
  ...ACTOR,
  TargetFilename: ({ event }) => event.file_target_path ?? event.file_path,
  SourceFilename: ({ event }) =>
    event.file_target_path === undefined ? undefined : event.file_path,
};

const NETWORK: Mapping = {
  ...ACTOR,
  Initiated: () => true,
  Protocol: own('net_transport'),
  DestinationIp: own('net_ip'),
  DestinationPort: own('net_port'),
  DestinationHostname: own('net_host'),
};

const DNS_QUERY: Mapping = { ...ACTOR, QueryName: own('net_host') };
const DNS: Mapping = { query: own('net_host') };
const PROXY: Mapping = {
  'c-uri': own('url'),
  'cs-method': own('http_method'),
  'cs-host': own('net_host'),
  'r-dns': own('net_host'),
  dst_ip: own('net_ip'),
};

/** The fields that auditd gives each record of a system call. */
const auditd = (type: string, fields: Mapping): Mapping => ({ type: () => type, ...fields });
const syscall = (name: string): Mapping =>
  auditd('SYSCALL', {
    SYSCALL: () => name,
    syscall: () => name,
    exe: ({ process }) => process?.exe,
    comm: ({ process }) => comm(process),
    pid: own('pid'),
    ppid: own('ppid'),
    success: ({ event }) => (event.outcome === 'failure' ? 'no' : 'yes'),
  });
const EXECVE = auditd('EXECVE', { argc: ({ process }) => process?.argv.length });
const EXECVE_CALL = syscall('execve');
const CONNECT_CALL = syscall('connect');
const OTHER_CALL: Mapping = {
  ...syscall(''),
  SYSCALL: own('syscall'),
  syscall: own('syscall'),
};
const CWD = auditd('CWD', { cwd: own('cwd') });
const PROCTITLE = auditd('PROCTITLE', { proctitle: (told) => told.commandLine });

const NAMETYPES: Readonly<Record<string, string>> = {
  ...{ create: 'CREATE', mkdir: 'CREATE', mknod: 'CREATE', link: 'CREATE', symlink: 'CREATE' },
  ...{ rename: 'CREATE', delete: 'DELETE', rmdir: 'DELETE' },
};
const PATH = auditd('PATH', {
  name: ({ event }) => event.file_target_path ?? event.file_path,
  nametype: ({ event }) => NAMETYPES[String(event.file_op)] ?? 'NORMAL',
});

/** The category of a file event by what was done; a file that is made anew is a `file_event`. */
const FILE_CATEGORIES: Readonly<Record<string, readonly string[]>> = {
  create: ['file_event'],
  write: ['file_event'],
  truncate: ['file_event'],
  link: ['file_event'],
  symlink: ['file_event'],
  mkdir: ['file_event'],
  mknod: ['file_event'],
  rename: ['file_event', 'file_rename'],
  delete: ['file_delete'],
  rmdir: ['file_delete'],
  mode: ['file_change'],
  read: ['file_access'],
};

interface Telling {
  readonly source: Logsource;
  readonly fields: ReadonlyMap<string, Make>;
  /** Argument fields `a0`, `a1` …, of the process’s argument vector. */
  readonly args?: true;
}

const linux = (category: string, fields: Mapping): Telling => ({
  source: { product: 'linux', category },
  fields: new Map(Object.entries(fields)),
});
const AUDITD: Logsource = { product: 'linux', service: 'auditd' };
const audit = (fields: Mapping): Telling => ({
  source: AUDITD,
  fields: new Map(Object.entries(fields)),
});
const other = (category: string, fields: Mapping): Telling => ({
  source: { category },
  fields: new Map(Object.entries(fields)),
});

const CREATED = linux('process_creation', PROCESS_CREATION);
const EXEC_RECORDS: readonly Telling[] = [
  { ...audit(EXECVE), args: true },
  ...[EXECVE_CALL, CWD, PROCTITLE].map(audit),
];
const CREATED_AND_RECORDS = [CREATED, ...EXEC_RECORDS];
const FILE_TELLINGS: ReadonlyMap<unknown, readonly Telling[]> = new Map(
  Object.entries(FILE_CATEGORIES).map(([op, categories]) => [
    op,
    [...categories.map((category) => linux(category, FILE)), audit(PATH)],
  ]),
);
const NET_TELLINGS: ReadonlyMap<unknown, readonly Telling[]> = new Map([
  ['connect', [linux('network_connection', NETWORK), audit(CONNECT_CALL)]],
  ['dns', [linux('dns_query', DNS_QUERY), other('dns', DNS)]],
  ['http', [other('proxy', PROXY)]],
]);
/** Sysmon knows connections to addresses; one to a socket's path is none to it, and auditd's alone. */
const SOCKET_RECORDS: readonly Telling[] = [audit(CONNECT_CALL)];
const CALL_RECORDS: readonly Telling[] = [audit(OTHER_CALL)];
const NOBODY: readonly Telling[] = [];

/** The log sources that would have told of an event of each kind. */
const TELLINGS: Readonly<Record<string, (event: Loose) => readonly Telling[]>> = {
  // A program that could not be run has made no process; auditd tells of the attempt.
  exec: ({ outcome }) => (outcome === 'failure' ? EXEC_RECORDS : CREATED_AND_RECORDS),
  file: ({ file_op }) => FILE_TELLINGS.get(file_op) ?? NOBODY,
  net: ({ net_op, net_path }) =>
    net_op === 'connect' && net_path !== undefined
      ? SOCKET_RECORDS
      : (NET_TELLINGS.get(net_op) ?? NOBODY),
  syscall: () => CALL_RECORDS,
};

/** Our own log source of each kind. */
const OWN_SOURCES: ReadonlyMap<string, Logsource> = new Map(
  [...REGISTRY.keys()].map((category) => [category, { product: 'telltale', category }]),
);

const MAPS: ReadonlySet<string> = new Set(['attrs', 'join_keys', 'settings']);

/** A field of ours by its own name, an entry of a map by `map.key`; maps themselves are no value. */
function ownField(event: Loose, name: string): FieldValue | undefined {
  const there = Object.hasOwn(event, name);
  const dot = name.indexOf('.');
  // Most of what rules ask for is not there.
  if (!there && dot < 0) return undefined;
  const map = dot < 0 ? name : name.slice(0, dot);
  if (!MAPS.has(map)) return there ? event[name] : undefined;
  const entries = (event[map] ?? {}) as unknown as Loose;
  const key = name.slice(map.length + 1);
  return Object.hasOwn(entries, key) ? entries[key] : undefined;
}

function ownNames(event: Loose): readonly string[] {
  return Object.keys(event).flatMap((name) =>
    MAPS.has(name)
      ? Object.keys(event[name] as unknown as Loose).map((key) => `${name}.${key}`)
      : [name],
  );
}

const ARGUMENT = /^a(0|[1-9]\d{0,4})$/;

class TellingView extends FoldingView {
  readonly #telling: Telling;
  readonly #told: Told;

  constructor(telling: Telling, told: Told) {
    super();
    this.#telling = telling;
    this.#told = told;
  }

  get(name: string): FieldValue | undefined {
    const { fields, args } = this.#telling;
    const make = fields.get(name);
    if (make !== undefined) return make(this.#told);
    const argument = args === undefined || name[0] !== 'a' ? null : ARGUMENT.exec(name);
    if (argument !== null) return this.#told.process?.argv[Number(argument[1])];
    return ownField(this.#told.event, name);
  }

  names(): readonly string[] {
    const { fields, args } = this.#telling;
    const argv = args === undefined ? [] : (this.#told.process?.argv ?? []);
    return [
      ...[...fields.keys()].filter((name) => this.get(name) !== undefined),
      ...argv.map((_, index) => `a${index}`),
    ];
  }
}

class OwnView extends FoldingView {
  readonly #event: Loose;

  constructor(event: Loose) {
    super();
    this.#event = event;
  }

  get(name: string): FieldValue | undefined {
    return ownField(this.#event, name);
  }

  names(): readonly string[] {
    return ownNames(this.#event);
  }
}

/**
 * An event as Sigma sees it: a view for each log source that would have told of it.
 *
 * @param kin the process behind the event and its parent, where the caller knows them; without it
 *   `ParentImage`, `ParentCommandLine`, and `Image` of what is no exec, are missing
 */
export function sigmaViews(event: TelltaleEvent, kin: Kinship = {}): readonly LogView[] {
  const loose = event as unknown as Loose;
  const own = event.kind === 'exec' ? { exe: event.exe, argv: event.argv ?? [] } : undefined;
  const told = new Told(loose, own ?? kin.self, kin.parent);
  const tellings = Object.hasOwn(TELLINGS, event.kind) ? TELLINGS[event.kind]?.(loose) : undefined;
  const views = (tellings ?? NOBODY).map((telling): LogView => {
    return { source: telling.source, fields: new TellingView(telling, told) };
  });
  views.push({ source: OWN_SOURCES.get(event.kind) as Logsource, fields: new OwnView(loose) });
  return views;
}
