/** Our events in the words of Sigma's taxonomy. */
import { describe, expect, it } from 'vitest';
import { type FieldValue, type LogView, REGISTRY, sigmaViews, type TelltaleEvent } from '#schemas';

const envelope = {
  tenant: 'acme',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-0000000000aa',
  seq: 3,
  ts: '1764000000000000000',
  observed_ts: '1764000000000000001',
  source: 'seccomp',
  assurance: 'observed',
  user: 'agent',
  host: 'box',
  pid: 12,
  ppid: 11,
};
const make = (kind: string, fields: object) =>
  ({ ...envelope, kind, ...fields }) as unknown as TelltaleEvent;

const words = ({ source }: LogView) =>
  [source?.product, source?.category, source?.service]
    .filter((word) => word !== undefined)
    .join('/');
const fieldsOf = (view: LogView | undefined): Record<string, FieldValue | undefined> =>
  Object.fromEntries(view?.fields.names().map((name) => [name, view.fields.get(name)]) ?? []);
const find = (views: readonly LogView[], source: string, type?: string) =>
  views.find(
    (view) => words(view) === source && (type === undefined || view.fields.get('type') === type),
  );

const self = { exe: '/usr/bin/curl', argv: ['curl', '-s', 'x.io'] };
const parent = { exe: '/usr/bin/bash', argv: ['bash', '-c', 'curl -s x.io'] };

describe('an exec', () => {
  const exec = make('exec', { exe: self.exe, argv: self.argv, cwd: '/srv', outcome: 'success' });
  const views = sigmaViews(exec, { parent });

  it('is a process creation', () => {
    expect(fieldsOf(find(views, 'linux/process_creation'))).toEqual({
      Image: '/usr/bin/curl',
      CommandLine: 'curl -s x.io',
      CurrentDirectory: '/srv',
      ProcessId: 12,
      ParentProcessId: 11,
      ParentImage: '/usr/bin/bash',
      ParentCommandLine: 'bash -c curl -s x.io',
      User: 'agent',
      Computer: 'box',
    });
  });

  it('is four records of auditd', () => {
    const auditd = (type: string) => fieldsOf(find(views, 'linux/auditd', type));
    expect(auditd('EXECVE')).toEqual({ type: 'EXECVE', argc: 3, a0: 'curl', a1: '-s', a2: 'x.io' });
    expect(auditd('SYSCALL')).toMatchObject({
      SYSCALL: 'execve',
      exe: self.exe,
      comm: 'curl',
      success: 'yes',
    });
    expect(auditd('CWD')).toEqual({ type: 'CWD', cwd: '/srv' });
    expect(auditd('PROCTITLE')).toEqual({ type: 'PROCTITLE', proctitle: 'curl -s x.io' });
  });

  it('that failed has made no process, but was tried', () => {
    const failed = sigmaViews(make('exec', { exe: '/nope', outcome: 'failure' }));
    expect(failed.map(words)).not.toContain('linux/process_creation');
    expect(find(failed, 'linux/auditd', 'SYSCALL')?.fields.get('success')).toBe('no');
  });

  it('without a parent or arguments leaves out what is not known', () => {
    const fields = fieldsOf(
      find(sigmaViews(make('exec', { exe: '/bin/x' })), 'linux/process_creation'),
    );
    expect(fields).not.toHaveProperty('ParentImage');
    expect(fields.CommandLine).toBe('/bin/x');
  });

  it('can be grouped by our own fields, which no keyword is looked for in', () => {
    const view = find(views, 'linux/process_creation');
    expect(view?.fields.get('session_id')).toBe(envelope.session_id);
    expect(view?.fields.names()).not.toContain('session_id');
  });
});

describe('a file event', () => {
  const sources = (fields: object) => sigmaViews(make('file', fields), { self }).map(words);
  it.each([
    ['create', ['linux/file_event']],
    ['write', ['linux/file_event']],
    ['rename', ['linux/file_event', 'linux/file_rename']],
    ['delete', ['linux/file_delete']],
    ['mode', ['linux/file_change']],
    ['read', ['linux/file_access']],
  ])('%s is told by %j', (file_op, expected) => {
    expect(sources({ file_op, file_path: '/a' })).toEqual([
      ...expected,
      'linux/auditd',
      'telltale/file',
    ]);
  });

  it('of two paths is about the new one', () => {
    const moved = make('file', { file_op: 'rename', file_path: '/a', file_target_path: '/b' });
    const fields = fieldsOf(find(sigmaViews(moved, { self }), 'linux/file_event'));
    expect(fields).toMatchObject({ TargetFilename: '/b', SourceFilename: '/a', Image: self.exe });
    const record = fieldsOf(find(sigmaViews(moved), 'linux/auditd', 'PATH'));
    expect(record).toEqual({ type: 'PATH', name: '/b', nametype: 'CREATE' });
  });
});

describe('a net event', () => {
  it('to a path is no connection to Sysmon, whatever program makes it', () => {
    const views = sigmaViews(make('net', { net_op: 'connect', net_path: '/run/nscd/socket' }));
    const sources = views.map(({ source }) => source?.category ?? source?.service);
    expect(sources).not.toContain('network_connection');
    expect(sources).toContain('auditd');
  });

  it('is a connection, a look-up, or a request to a proxy', () => {
    const connect = { net_op: 'connect', net_ip: '192.0.2.1', net_port: 443, net_host: 'x.io' };
    const views = sigmaViews(make('net', connect), { self });
    expect(fieldsOf(find(views, 'linux/network_connection'))).toMatchObject({
      ...{ Initiated: true, DestinationIp: '192.0.2.1', DestinationPort: 443 },
      ...{ DestinationHostname: 'x.io', Image: self.exe },
    });
    const dns = sigmaViews(make('net', { net_op: 'dns', net_host: 'x.io' }));
    expect(find(dns, 'linux/dns_query')?.fields.get('QueryName')).toBe('x.io');
    expect(find(dns, 'dns')?.fields.get('query')).toBe('x.io');
    const http = sigmaViews(
      make('net', { net_op: 'http', url: 'http://x.io/a', http_method: 'GET' }),
    );
    expect(fieldsOf(find(http, 'proxy'))).toEqual({ 'c-uri': 'http://x.io/a', 'cs-method': 'GET' });
    expect(sigmaViews(make('net', { net_op: 'listen' })).map(words)).toEqual(['telltale/net']);
  });
});

describe('any event', () => {
  it.each(
    [...REGISTRY.values()].flatMap(({ kind, samples }) =>
      samples.map((sample) => [kind, sample] as const),
    ),
  )('%s has its own names: %j', (kind, sample) => {
    const own = find(sigmaViews(make(kind, sample)), `telltale/${kind}`);
    for (const name of own?.fields.names() ?? []) expect(own?.fields.get(name)).toBeDefined();
    expect(own?.fields.get('kind')).toBe(kind);
  });

  it('has the entries of its maps, and nothing of a prototype', () => {
    const attrs = JSON.parse('{"key":"v","__proto__":"p"}');
    const own = find(sigmaViews(make('exit', { attrs })), 'telltale/exit')?.fields;
    expect(own?.get('attrs.key')).toBe('v');
    expect(own?.get('attrs.__proto__')).toBe('p');
    expect(own?.get('attrs')).toBeUndefined();
    expect(own?.get('attrs.toString')).toBeUndefined();
    expect(own?.get('constructor')).toBeUndefined();
  });
});
