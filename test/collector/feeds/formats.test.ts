/** What lines of host sensors become: those of their documentation, and whatever else comes. */
import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Draft, parseJson } from '#schemas';
import { type FeedFact, timeOf } from '../../../collector/feeds/facts.ts';
import { FALCO } from '../../../collector/feeds/falco.ts';
import { createScope } from '../../../collector/feeds/scope.ts';
import { TETRAGON } from '../../../collector/feeds/tetragon.ts';
import { createStamper } from '../../../collector/stamp.ts';
import { fakeClock, fakeRandom } from '../../fakes/ports.ts';
import { identity } from '../drafts.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const linesOf = (name: string): unknown[] =>
  fs
    .readFileSync(path.join(ROOT, 'test/fixtures/feeds', name), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => parseJson(line));
const TETRAGON_LINES = linesOf('tetragon.ndjson');
const FALCO_LINES = linesOf('falco.ndjson');

/** Facts as drafts, whoever's process it is; each has to be an event that can be carried. */
function draftsOf(source: string, facts: readonly (FeedFact | undefined)[]): Draft[] {
  const stamper = createStamper(identity, fakeClock(), fakeRandom());
  return facts.flatMap((fact) => {
    if (fact?.what !== 'event') return [];
    const draft = { ...fact.fields, source, assurance: 'observed', pid: fact.pid } as Draft;
    // Stamping refuses what is no event: it would be declared as a gap.
    const { event } = stamper.stamp(draft) as unknown as { event: { kind: string } };
    expect([draft.kind, event.kind]).toEqual([draft.kind, draft.kind]);
    return [draft];
  });
}

describe('Tetragon’s documented lines', () => {
  const facts = TETRAGON_LINES.map(TETRAGON.read);
  it('are all understood', () => {
    expect(facts.filter((fact) => fact === undefined)).toEqual([]);
  });
  it('are programs, ends, files, connections and calls', () => {
    const drafts = draftsOf('tetragon', facts);
    const of = (kind: string) => drafts.filter((draft) => draft.kind === kind);
    expect(of('exec')).toContainEqual(
      expect.objectContaining({
        ts: '1696629837700326678',
        exe: '/usr/bin/curl',
        argv: ['/usr/bin/curl', 'https://ebpf.io/applications/#tetragon'],
        cwd: '/',
        pid: 52_699,
      }),
    );
    expect(of('net')).toMatchObject([{ net_op: 'connect', net_port: 443, net_transport: 'tcp' }]);
    expect(of('file')).toContainEqual(
      expect.objectContaining({ file_op: 'write', file_path: '/etc/passwd' }),
    );
    expect(of('syscall')).toContainEqual(expect.objectContaining({ syscall: 'setns' }));
    expect(of('exit').length).toBeGreaterThan(0);
  });
  it('say when events were throttled', () => {
    expect(facts.filter((fact) => fact?.what === 'loss')).toMatchObject([
      { reason: expect.stringContaining('session-429.scope') },
    ]);
  });
  it('a rate limit is a loss with its number', () => {
    const line = {
      rate_limit_info: { number_of_dropped_process_events: '12' },
      time: '2024-07-26T13:07:43.178407128Z',
    };
    expect(TETRAGON.read(line)).toMatchObject({ what: 'loss', hostCount: 12 });
  });
});

describe('Falco’s lines', () => {
  it('of its default rules name no process, so they are left to whoever reads alerts', () => {
    expect(FALCO_LINES.map(FALCO.read)).toEqual(FALCO_LINES.map(() => ({ what: 'nothing' })));
  });
  it('a drop of system calls is a loss with its number', () => {
    // The fields of userspace/falco/event_drops.cpp.
    const line = {
      output: 'Falco internal: syscall event drop. 7 system calls dropped in last second.',
      output_fields: { n_evts: '1181', n_drops: '7', n_drops_buffer_total: '7' },
      ...{ priority: 'Debug', rule: 'Falco internal: syscall event drop' },
      time: '2025-05-07T12:50:34.502309868Z',
    };
    expect(FALCO.read(line)).toMatchObject({ what: 'loss', hostCount: 7 });
  });
  it('reads each field that its rules here name, and names each that it reads', () => {
    const rules = parse(
      fs.readFileSync(path.join(ROOT, 'collector/feeds/falco_rules.yaml'), 'utf8'),
    ) as { output?: string }[];
    const named = new Set(
      rules.flatMap(({ output = '' }) =>
        [...output.matchAll(/%([a-z0-9.]+)/g)].map(([, name]) => name),
      ),
    );
    const code = fs.readFileSync(path.join(ROOT, 'collector/feeds/falco.ts'), 'utf8');
    const read = new Set(
      [...code.matchAll(/'((?:evt|proc|fd|fs|container)\.[a-z0-9.]+)'/g)].map(([, name]) => name),
    );
    // These are stand-ins where another rule than ours has them.
    for (const name of ['proc.exe', 'proc.name', 'fd.sip.name']) read.delete(name);
    expect([...read].sort()).toEqual([...named].sort());
  });
  const alert = (fields: object) => ({
    ...{ rule: 'Telltale', priority: 'Info', source: 'syscall', time: '2025-05-07T12:50:34.5Z' },
    output_fields: { 'proc.pid': 42, 'proc.ppid': 7, 'evt.res': 'SUCCESS', ...fields },
  });
  it.each([
    [
      {
        'evt.type': 'execve',
        'proc.exepath': '/usr/bin/git',
        'proc.cmdline': 'git status',
        'proc.cwd': '/w/',
      },
      {
        kind: 'exec',
        exe: '/usr/bin/git',
        argv: ['git', 'status'],
        cwd: '/w/',
        outcome: 'success',
      },
    ],
    [
      { 'evt.type': 'procexit', 'evt.arg.status': 768 },
      { kind: 'exit', exit_code: 3 },
    ],
    [
      { 'evt.type': 'procexit', 'evt.arg.sig': 'SIGKILL' },
      { kind: 'exit', exit_signal: 'SIGKILL' },
    ],
    [
      { 'evt.type': 'openat', 'fd.name': '/w/a', 'evt.arg.flags': 'O_WRONLY|O_CREAT|O_F_CREATED' },
      { kind: 'file', file_op: 'create', file_path: '/w/a' },
    ],
    [
      { 'evt.type': 'renameat2', 'fs.path.source': '/w/a', 'fs.path.target': '/w/b' },
      { kind: 'file', file_op: 'rename', file_path: '/w/a', file_target_path: '/w/b' },
    ],
    [
      {
        'evt.type': 'connect',
        'fd.type': 'ipv4',
        'fd.rip': '1.2.3.4',
        'fd.rport': 443,
        'fd.l4proto': 'tcp',
        'evt.res': 'EINPROGRESS',
      },
      { kind: 'net', net_op: 'connect', net_ip: '1.2.3.4', net_port: 443, net_transport: 'tcp' },
    ],
    [
      { 'evt.type': 'connect', 'fd.type': 'unix', 'fd.name': '/run/docker.sock' },
      { kind: 'net', net_transport: 'unix', net_path: '/run/docker.sock' },
    ],
    [{ 'evt.type': 'ptrace' }, { kind: 'syscall', syscall: 'ptrace' }],
  ])('%j', (fields, expected) => {
    const fact = FALCO.read(alert(fields));
    expect(fact).toMatchObject({ what: 'event', pid: 42, ppid: 7, fields: expected });
    expect(draftsOf('falco', [fact])).toHaveLength(1);
  });
});

describe('times', () => {
  it.each([
    ['2025-05-07T12:50:34.502309868Z', '1746622234502309868'],
    ['2025-05-07T14:50:34.5+02:00', '1746622234500000000'],
    ['2025-05-07T12:50:34+0000', '1746622234000000000'],
  ])('%s', (text, ns) => expect(timeOf(text)).toBe(ns));
  it.each([
    '',
    '2025',
    7,
    null,
    '1969-01-01T00:00:00Z',
    '2025-13-07T12:50:34Z',
    '9999-01-01T00:00:00Z',
  ])('%j is none', (value) => expect(timeOf(value)).toBeUndefined());
});

/** All places of a value, as paths. */
function placesOf(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [
    [...at, key],
    ...placesOf(item, [...at, key]),
  ]);
}

function changed(value: unknown, [key, ...rest]: readonly string[], to: unknown): unknown {
  if (key === undefined) return to;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<
    string,
    unknown
  >;
  if (rest.length === 0 && to === undefined) delete copy[key];
  else copy[key] = changed(copy[key], rest, to);
  return copy;
}

describe.each([
  { format: TETRAGON, lines: TETRAGON_LINES },
  { format: FALCO, lines: FALCO_LINES },
])('fields of $format.source dropped or of another type', ({ format, lines }) => {
  it('make no line an error, and no event that can’t be carried', () => {
    const line = fc.constantFrom(...lines).chain((value) =>
      fc
        .tuple(
          fc.array(
            fc.tuple(
              fc.constantFrom(...placesOf(value)),
              fc.oneof(
                fc.constant(undefined),
                fc.anything(),
                fc.constantFrom('', '<NA>', -1, 2 ** 60),
              ),
            ),
            { minLength: 1, maxLength: 3 },
          ),
        )
        .map(([changes]) =>
          changes.reduce<unknown>((before, [place, to]) => {
            try {
              return changed(before, place, to);
            } catch {
              return before;
            }
          }, value),
        ),
    );
    fc.assert(fc.property(line, (value) => void draftsOf(format.source, [format.read(value)])));
    fc.assert(fc.property(fc.anything(), (value) => void format.read(value)));
  });
});

describe('the scope of a session', () => {
  const exec = (
    pid: number,
    ppid: number,
    argv: string[],
    keys?: Record<string, string>,
  ): FeedFact => ({
    ...{ what: 'event', pid, ppid },
    fields: {
      kind: 'exec',
      ts: '1764000000000000001',
      exe: argv[0] as string,
      argv,
      ...(keys && { join_keys: keys }),
    },
  });
  const exit = (pid: number): FeedFact => ({
    ...{ what: 'event', pid },
    fields: { kind: 'exit', ts: '1764000000000000002', exit_code: 0 },
  });
  it('is the marked process and all below it, and nobody else', () => {
    const options = { source: 'falco', mark: 'mark-1', joinKeys: ['CALL'], toolCallKey: 'CALL' };
    const scope = createScope(options);
    const pids = (fact: FeedFact) => scope.take(fact).map(({ pid }) => pid);
    expect(pids(exec(5, 1, ['other']))).toEqual([]);
    expect(pids(exec(10, 1, ['sh', '-c', 'exec "$@"', 'mark-1', 'agent']))).toEqual([10]);
    expect(pids(exec(11, 10, ['bash']))).toEqual([11]);
    expect(pids({ what: 'born', pid: 12, ppid: 11 })).toEqual([]);
    expect(scope.take(exec(12, 11, ['git'], { CALL: 'c1', SECRET: 'x' }))).toMatchObject([
      { tool_call_id: 'c1', attribution: 'env_key', join_keys: { CALL: 'c1' } },
    ]);
    expect(scope.take(exec(13, 12, ['ssh']))).toMatchObject([
      { tool_call_id: 'c1', attribution: 'ancestry', ppid: 12 },
    ]);
    expect(pids(exec(20, 5, ['mark-1 elsewhere']))).toEqual([]);
    expect(pids(exit(12))).toEqual([12]);
    expect(pids(exec(12, 1, ['somebody with the same number']))).toEqual([]);
    expect(scope.ended).toBe(false);
    expect(pids(exit(10))).toEqual([10]);
    expect(scope.ended).toBe(true);
  });
});
