import { describe, expect, it } from 'vitest';
import { REGISTRY, type TelltaleEvent } from '#schemas';
import { parseEql } from '../../../../schemas/rules/eql/parser.ts';
import { compileQuery } from '../../../../schemas/rules/eql/query.ts';
import { eqlViews, findCategory, typeOfField } from '../../../../schemas/rules/eql/taxonomy.ts';
import type { Kinship } from '../../../../schemas/rules/lineage.ts';
import { coversSource } from '../../../../schemas/rules/values.ts';

const ENVELOPE = {
  session_id: 's',
  stream_id: 'st',
  seq: 3,
  tenant: 't',
  ts: '1764000000000000000',
};
const event = (fields: object) => ({ ...ENVELOPE, ...fields }) as unknown as TelltaleEvent;

function holds(query: string, fields: object, kin?: Kinship): boolean {
  const parsed = parseEql(query);
  const compiled = parsed.ok ? compileQuery(parsed.value) : parsed;
  if (!compiled.ok) throw new Error(compiled.fault.message);
  expect(compiled.value.unknown).toEqual([]);
  const { matcher } = compiled.value;
  if (matcher.type !== 'event') throw new Error('not a test of one event');
  const views = eqlViews(event(fields), kin);
  expect(views).toHaveLength(1);
  return views.some(
    (view) =>
      coversSource(matcher.test.logsource, view.source) && matcher.test.matches(view.fields),
  );
}

const EXEC = {
  kind: 'exec',
  exe: '/usr/bin/bash',
  argv: ['bash', '-lc', 'make test'],
  pid: 7,
  ppid: 6,
};
const NET = {
  kind: 'net',
  net_op: 'connect',
  net_host: 'a.example',
  net_ip: '203.0.113.7',
  net_port: 443,
};
const FILE = { kind: 'file', file_op: 'create', file_path: '/srv/app/.env.local' };

describe('categories', () => {
  it.each<[string, object, boolean]>([
    ['process', EXEC, true],
    ['process', { kind: 'exit', exit_code: 0 }, true],
    ['exec', EXEC, true],
    ['exec', { kind: 'exit', exit_code: 0 }, false],
    ['exit', { kind: 'exit', exit_code: 0 }, true],
    ['network', NET, true],
    ['net', NET, true],
    ['dns', NET, false],
    ['dns', { kind: 'net', net_op: 'dns', net_host: 'x' }, true],
    ['file', FILE, true],
    ['tool_call', { kind: 'tool.call' }, true],
    ['"tool.call"', { kind: 'tool.call' }, true],
    ['"tool.call"', { kind: 'tool.result' }, false],
    ['any', { kind: 'prompt' }, true],
  ])('%s over %j: %s', (category, fields, wanted) => {
    expect(holds(`${category} where true`, fields)).toBe(wanted);
  });
  it('are there for each kind, by both spellings', () => {
    for (const kind of REGISTRY.keys()) {
      expect(findCategory(kind), kind).toBeDefined();
      expect(findCategory(kind.replaceAll('.', '_')), kind).toEqual(findCategory(kind));
    }
    expect(findCategory('registry')).toBe(undefined);
  });
});

describe('fields', () => {
  it.each<[string, object]>([
    ['process.name == "bash" and process.executable == "/usr/bin/bash"', EXEC],
    [
      'process.command_line : "bash -lc make*" and process.args == "-lc" and process.args_count == 3',
      EXEC,
    ],
    ['process.script == "make test"', EXEC],
    ['process.pid == 7 and process.parent.pid == 6 and pid == 7', EXEC],
    ['event.type == "start" and event.category == "process" and event.action == "exec"', EXEC],
    ['event.type == "end" and process.exit_code == 3', { kind: 'exit', exit_code: 3 }],
    ['session.id == "s" and session_id == "s" and event.id == "st-3"', EXEC],
    ['`@timestamp` like "1764*"', EXEC],
    [
      'destination.ip == "203.0.113.7" and destination.port == 443 and destination.domain : "A.example"',
      NET,
    ],
    ['network.direction == "egress" and cidrMatch(destination.ip, "203.0.113.0/24")', NET],
    ['dns.question.name == null and url.domain == "a.example"', NET],
    ['url.domain == "b.example"', { ...NET, url: 'https://user:pw@B.example:8443/x?y#z' }],
    [
      'file.name == ".env.local" and file.directory == "/srv/app" and file.extension == "local"',
      FILE,
    ],
    ['event.type == "creation" and event.action == "create"', FILE],
    ['event.type == "change"', { ...FILE, file_op: 'write' }],
    [
      'attrs.hook_tool == "Bash" and attrs.other == null',
      { kind: 'tool.call', attrs: { hook_tool: 'Bash' } },
    ],
    ['gen_ai.tool.name == "Read" and tool == "Read"', { kind: 'tool.call', tool: 'Read' }],
    ['process.parent.name == null', EXEC],
  ])('any where %s', (condition, fields) => {
    expect(holds(`any where ${condition}`, fields)).toBe(true);
  });

  it('tell who is behind an event, where that is known', () => {
    const kin = {
      self: { exe: '/usr/bin/curl', argv: ['curl', 'x'] },
      parent: { exe: '/bin/sh', argv: ['sh', '-c', 'curl x'] },
    };
    expect(holds('any where process.name == "curl" and process.args == "x"', NET, kin)).toBe(true);
    expect(holds('any where process.parent.name == "sh"', NET, kin)).toBe(true);
    expect(holds('any where process.parent.command_line == "sh -c curl x"', NET, kin)).toBe(true);
    expect(holds('any where process.name == "bash"', EXEC, kin)).toBe(true);
  });

  it('have the type of what every sample of every kind holds', () => {
    const derived = ['process.args', 'process.name', 'event.type', 'file.name', 'url.domain'];
    for (const [kind, { samples, fields }] of REGISTRY) {
      for (const sample of samples) {
        const [view] = eqlViews(event({ ...sample, kind }));
        for (const name of [...Object.keys(fields), ...derived]) {
          const value = view?.fields.get(name);
          if (value === undefined) continue;
          const type = typeOfField(name);
          expect(type, name).toBeDefined();
          const first = Array.isArray(value) ? value[0] : value;
          expect(Array.isArray(value), name).toBe(type?.list);
          const js = type?.type === 'integer' ? 'number' : type?.type;
          expect(typeof first, name).toBe(js);
        }
      }
    }
  });

  it('that nobody has are told, unless they are optional', () => {
    const parsed = parseEql('registry where pid == 1 and nope == "a" and ?maybe == null');
    if (!parsed.ok) throw new Error(parsed.fault.message);
    const compiled = compileQuery(parsed.value);
    if (!compiled.ok) throw new Error(compiled.fault.message);
    expect(compiled.value.unknown).toEqual([
      { line: 1, column: 29, message: 'unknown field "nope"' },
      { line: 1, column: 1, message: 'no event has the category "registry"' },
    ]);
  });
});
