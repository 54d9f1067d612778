/**
 * Which class of OCSF 1.8.0 (https://schema.ocsf.io) an event is, and what of it goes where. Each kind
 * has a class, or goes to the base event (class 0) with the reason.
 *
 *     kind                            class                        activity
 *     exec, exit                      1007 Process Activity        Launch, Terminate
 *     file                            1001 File System Activity    Create … Rename
 *     syscall                         1003 Kernel Activity         Invoke
 *     net: connect, bind, listen      4001 Network Activity        Open, Fail, Listen, Other
 *     net: dns                        4003 DNS Activity            Query
 *     net: http                       4002 HTTP Activity           by method
 *     policy.decision on the network  4001 Network Activity        Refuse, Other; security_control
 *     prompt, model.turn, tool.*      6003 API Activity            Other; ai_operation
 *     session.open, session.close     6002 Application Lifecycle   Start, Stop
 *     access                          6005 Datastore Activity      Read
 *     alert                           2004 Detection Finding       Create
 *     approval, other policy.decision 0, with security_control: OCSF records a decision as a part of the
 *                                     activity that was decided on, and here it stands by itself
 *     session.heartbeat, gap, sensor  0: of our own protocol; no class tells that evidence is missing
 *     annotation                      0: an investigator's note is no activity
 */
import path from 'node:path';
import { eventId, type KindName } from '#schemas';
import type { FlatEvent } from '../timeline/view.ts';

/** OCSF’s word for what it has no word for. */
export const OTHER = 99;

export type Json = Readonly<Record<string, unknown>>;

/** What a kind makes of an event, beside what all events have. */
export interface Mapped {
  readonly class_uid: number;
  readonly activity_id: number;
  /** Words for an activity that OCSF has none for. */
  readonly activity_name?: string | undefined;
  readonly profiles?: readonly string[];
  readonly fields: Json;
  /** Fields of the event that stand whole in `fields`. */
  readonly carried: readonly (keyof FlatEvent)[];
}

/** Without what is absent. */
export const some = (fields: Json): Json =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

const given = <T, R>(value: T | undefined, make: (value: T) => R): R | undefined =>
  value === undefined ? undefined : make(value);

const device = (event: FlatEvent) => ({ hostname: event.host ?? 'unknown', type_id: 0 });
const source = (event: FlatEvent) => ({ hostname: event.host ?? 'unknown' });
/** The agent, as the program on whose behalf all of it happens. */
const agentOf = (event: FlatEvent) =>
  some({
    app_name: event.agent ?? 'unknown',
    user: given(event.user, (name) => ({ name, type_id: 0 })),
  });
const byProcess = (event: FlatEvent, pid: number | undefined) =>
  some({ ...agentOf(event), process: given(pid, (id) => ({ pid: id })) });

const fileOf = (file: string, type_id: number, event?: FlatEvent) =>
  some({
    name: path.posix.basename(file) || file,
    path: file,
    type_id,
    size: event?.file_bytes,
    hashes: given(event?.file_sha256, (value) => [{ algorithm_id: 3, value }]),
  });

function process(event: FlatEvent): Mapped {
  const name = event.exe ?? '';
  return {
    class_uid: 1007,
    activity_id: 1,
    fields: {
      device: device(event),
      actor: byProcess(event, event.ppid),
      process: some({
        pid: event.pid,
        uid: eventId(event),
        name: path.posix.basename(name) || name,
        file: fileOf(name, 8),
        cmd_line: given(event.argv, (argv) => argv.join(' ')),
        working_directory: event.cwd,
        parent_process: given(event.ppid, (pid) => ({ pid })),
      }),
    },
    carried: ['exe', 'cwd', 'pid', 'ppid', 'host', 'agent', 'user'],
  };
}

const processEnd = (event: FlatEvent): Mapped => ({
  class_uid: 1007,
  activity_id: 2,
  fields: some({
    device: device(event),
    actor: byProcess(event, event.ppid),
    process: some({ pid: event.pid, uid: event.pid === undefined ? eventId(event) : undefined }),
    exit_code: event.exit_code,
  }),
  carried: ['exit_code', 'pid', 'host', 'agent', 'user'],
});

/** Activity and type of file, by what was done. */
const FILE_OPS: Readonly<Record<string, readonly [number, number]>> = {
  create: [1, 1],
  write: [3, 1],
  rename: [5, 0],
  delete: [4, 0],
  mode: [7, 0],
  link: [1, 1],
  symlink: [1, 7],
  mkdir: [1, 2],
  rmdir: [4, 2],
  truncate: [3, 1],
  mknod: [1, 0],
  read: [2, 1],
};

function file(event: FlatEvent): Mapped {
  const [activity_id, type] = FILE_OPS[event.file_op ?? ''] ?? [OTHER, 0];
  return {
    class_uid: 1001,
    activity_id,
    ...(activity_id === OTHER ? { activity_name: event.file_op } : {}),
    fields: some({
      device: device(event),
      actor: byProcess(event, event.pid),
      file: fileOf(event.file_path ?? '', type, event),
      file_result:
        activity_id === 5 ? given(event.file_target_path, (to) => fileOf(to, type)) : undefined,
    }),
    carried: ['file_path', 'file_bytes', 'file_sha256', 'pid', 'host', 'agent', 'user'],
  };
}

const syscall = (event: FlatEvent): Mapped => ({
  class_uid: 1003,
  activity_id: 4,
  fields: {
    device: device(event),
    actor: byProcess(event, event.pid),
    kernel: { name: event.syscall ?? '', type_id: 2 },
  },
  carried: ['syscall', 'pid', 'host', 'agent', 'user'],
});

const IP = /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$/;

/** Where it went; a text that is no address is a name. */
const destination = (event: FlatEvent) =>
  some({
    hostname: event.net_host,
    ip: given(event.net_ip, (ip) => (IP.test(ip) ? ip : undefined)),
    port: event.net_port,
    name: event.net_path ?? given(event.net_ip, (ip) => (IP.test(ip) ? undefined : ip)),
  });

function endpoints(event: FlatEvent): Json {
  const to = destination(event);
  const { port: _port, ...named } = to;
  return some({
    device: device(event),
    actor: byProcess(event, event.pid),
    src_endpoint: source(event),
    dst_endpoint: Object.keys(named).length === 0 ? undefined : to,
  });
}

const traffic = (event: FlatEvent) =>
  event.net_bytes_in === undefined && event.net_bytes_out === undefined
    ? undefined
    : some({ bytes_in: event.net_bytes_in, bytes_out: event.net_bytes_out });

const ENDPOINTS = ['net_host', 'net_ip', 'net_path', 'pid', 'host', 'agent', 'user'] as const;
const METHODS: readonly string[] = [
  ...['', 'CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'TRACE', 'PATCH'],
];

const request = (event: FlatEvent) =>
  some({
    http_method: METHODS.includes(event.http_method ?? '-') ? event.http_method : undefined,
    url: given(event.url, (url_string) => ({ url_string })),
  });

function http(event: FlatEvent): Mapped {
  const activity = METHODS.indexOf(event.http_method ?? '-');
  return {
    class_uid: 4002,
    activity_id: activity > 0 ? activity : OTHER,
    ...(activity > 0 ? {} : { activity_name: event.http_method }),
    profiles: ['host'],
    fields: some({
      ...endpoints(event),
      http_request: request(event),
      traffic: traffic(event),
    }),
    carried: [...ENDPOINTS, 'url', 'net_bytes_in', 'net_bytes_out'],
  };
}

const dns = (event: FlatEvent): Mapped => ({
  class_uid: 4003,
  activity_id: 1,
  profiles: ['host'],
  fields: some({
    ...endpoints(event),
    query: given(event.net_host, (hostname) => ({ hostname })),
  }),
  carried: ENDPOINTS,
});

function net(event: FlatEvent): Mapped {
  if (event.net_op === 'dns') return dns(event);
  if (event.net_op === 'http') return http(event);
  const failed = event.outcome === 'failure';
  const known: Readonly<Record<string, number>> = { connect: failed ? 4 : 1, listen: 7 };
  const activity = known[event.net_op ?? ''] ?? OTHER;
  return {
    class_uid: 4001,
    activity_id: activity,
    ...(activity === OTHER ? { activity_name: event.net_op } : {}),
    profiles: ['host'],
    fields: some({
      ...endpoints(event),
      connection_info: given(event.net_transport, (protocol_name) => ({
        direction_id: event.net_op === 'connect' ? 2 : 1,
        protocol_name,
      })),
      traffic: traffic(event),
    }),
    carried: [...ENDPOINTS, 'net_transport', 'net_bytes_in', 'net_bytes_out'],
  };
}

const CONTROL: Readonly<Record<string, readonly [number, number]>> = {
  allow: [1, 1],
  approved: [1, 1],
  deny: [2, 2],
  denied: [2, 2],
};

/** The profile security_control: what a control did, and what came of it. */
function control(event: FlatEvent): Json {
  const [action_id, disposition_id] = CONTROL[event.decision ?? ''] ?? [OTHER, OTHER];
  return some({
    action_id,
    action: action_id === OTHER ? event.decision : undefined,
    disposition_id,
    disposition: disposition_id === OTHER ? event.decision : undefined,
    policy: given(event.policy, (name) => some({ name, version: event.policy_version })),
  });
}

/** A class of its own has none of these: the base event. */
const base = (fields: Json = {}, profiles: readonly string[] = []): Mapped => ({
  class_uid: 0,
  activity_id: OTHER,
  profiles: ['host', ...profiles],
  fields,
  carried: ['host', 'agent', 'user'],
});

const uncontrolled = (event: FlatEvent): Mapped =>
  base({ device: device(event), actor: agentOf(event), ...control(event) }, ['security_control']);

const own = (event: FlatEvent): Mapped => base({ device: device(event), actor: agentOf(event) });

function policyDecision(event: FlatEvent): Mapped {
  if (event.policy_type !== 'network') return uncontrolled(event);
  const refused = event.decision === 'deny';
  return {
    class_uid: 4001,
    activity_id: refused ? 5 : OTHER,
    ...(refused ? {} : { activity_name: 'Policy decision' }),
    profiles: ['host', 'security_control'],
    fields: some({
      ...endpoints(event),
      ...control(event),
      firewall_rule: given(event.rule, (name) => ({ name })),
    }),
    carried: [...ENDPOINTS, 'rule'],
  };
}

/** What an agent and its model say to each other and to tools: calls of an API. */
function call(event: FlatEvent): Mapped {
  const { model, provider } = event;
  const known = model !== undefined && provider !== undefined;
  const service = event.mcp_server ?? provider ?? event.tool_namespace;
  return {
    class_uid: 6003,
    activity_id: OTHER,
    activity_name: event.kind,
    profiles: ['host', ...(known ? ['ai_operation'] : [])],
    fields: some({
      device: device(event),
      actor: agentOf(event),
      src_endpoint: source(event),
      api: some({
        operation: event.tool ?? event.kind,
        service: given(service, (name) => ({ name })),
        request: given(event.tool_call_id ?? event.response_id, (uid) => ({ uid })),
        response: given(event.error, (error) => ({ error })),
      }),
      ai_model: known ? { ai_provider: provider, name: model } : undefined,
    }),
    carried: ['host', 'agent', 'user', 'error', ...(known ? (['model', 'provider'] as const) : [])],
  };
}

const lifecycle =
  (activity_id: number) =>
  (event: FlatEvent): Mapped => ({
    class_uid: 6002,
    activity_id,
    profiles: ['host'],
    fields: {
      device: device(event),
      actor: agentOf(event),
      app: { name: event.agent ?? 'unknown', vendor_name: 'unknown' },
    },
    carried: ['host', 'agent', 'user'],
  });

const access = (event: FlatEvent): Mapped => ({
  class_uid: 6005,
  activity_id: 1,
  profiles: ['host'],
  fields: {
    device: device(event),
    actor: { user: { name: event.actor ?? 'unknown', type_id: 0 } },
    src_endpoint: source(event),
    database: { name: 'telltale', type_id: 1 },
    query_info: { name: event.operation ?? '', query_string: event.operation ?? '' },
  },
  carried: ['host', 'actor', 'operation'],
});

const LEVELS = ['', 'informational', 'low', 'medium', 'high', 'critical'];

const alert = (event: FlatEvent): Mapped => ({
  class_uid: 2004,
  activity_id: 1,
  profiles: ['host'],
  fields: {
    device: device(event),
    severity_id: Math.max(LEVELS.indexOf(event.severity ?? ''), 0),
    status_id: 1,
    is_alert: true,
    finding_info: some({
      uid: event.fingerprint ?? eventId(event),
      title: event.alert_rule,
      desc: event.reason,
      analytic: given(event.alert_rule, (name) => ({ name, type_id: 1 })),
      related_events: given(event.refs, (refs) => refs.map((uid) => ({ uid }))),
    }),
  },
  carried: ['host', 'fingerprint', 'alert_rule', 'refs', 'reason'],
});

/** Every kind: the compiler refuses a registry that has one more. */
const KINDS: Readonly<Record<KindName, (event: FlatEvent) => Mapped>> = {
  'session.open': lifecycle(3),
  'session.heartbeat': own,
  'session.close': lifecycle(4),
  gap: own,
  sensor: own,
  prompt: call,
  'model.turn': call,
  'tool.call': call,
  'tool.result': call,
  approval: uncontrolled,
  'policy.decision': policyDecision,
  exec: process,
  exit: processEnd,
  file,
  net,
  syscall,
  alert,
  annotation: own,
  access,
};

/** What the event's kind makes of it; of a kind that this version does not know, the base event. */
export const mapped = (event: FlatEvent): Mapped =>
  Object.hasOwn(KINDS, event.kind) ? KINDS[event.kind as KindName](event) : own(event);
