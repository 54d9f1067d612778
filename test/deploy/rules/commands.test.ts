/** `telltale rules`: check, test and match, as a person or a program calls them. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rules } from '../../../deploy/commands/rules.ts';
import { createEventReader } from '../../../deploy/rules/events.ts';
import { readRuleFolder } from '../../../deploy/rules/folder.ts';
import { SHIPPED } from '../../schemas/rules/rules.ts';

let dir: string;
beforeAll(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-rules-'));
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

/** A folder of files, below the temporary one. */
function folder(name: string, files: Readonly<Record<string, string>>): string {
  const root = path.join(dir, name);
  for (const [file, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    fs.writeFileSync(path.join(root, file), text);
  }
  return root;
}

/** Runs the command with what it writes caught. */
async function run(...args: string[]) {
  const out: string[] = [];
  const { write } = process.stdout;
  process.stdout.write = ((text: string, done?: () => void) => {
    out.push(text);
    done?.();
    return true;
  }) as typeof write;
  try {
    return { code: await rules(args), out: out.join('') };
  } finally {
    process.stdout.write = write;
  }
}

const CURL = `title: Curl
id: 00000000-0000-4000-8000-000000000001
name: curl
author: A. U. Thor
level: low
logsource: {product: linux, category: process_creation}
detection: {s: {'Image|endswith': /curl}, condition: s}
`;
const OFTEN = `title: Often
id: 00000000-0000-4000-8000-000000000002
correlation: {type: event_count, rules: [curl], group-by: [User], timespan: 1m, condition: {gte: 2}}
`;
const SEQUENCE = `title: Then
id: 00000000-0000-4000-8000-000000000003
level: high
language: eql
query: |
  sequence by session_id
    [process where process.name == "curl"]
    [file where file_op == "create"]
`;
const own = (kind: string, fields: object) => ({
  ...{ kind, session_id: 's', stream_id: 't', tenant: 'a', pid: 7, source: 'x' },
  ...{ assurance: 'observed', ts: '1764000000000000000', observed_ts: '1764000000000000000' },
  ...fields,
});
const lines = (events: readonly object[]) =>
  events.map((one) => `${JSON.stringify(one)}\n`).join('');

describe('check', () => {
  it('tells what is refused, where and why, and fails for it', async () => {
    const root = folder('check', {
      'a/good.yml': CURL,
      'bad.yml': CURL.replace('condition: s', 'condition: t'),
    });
    const { code, out } = await run('check', root);
    expect(code).toBe(1);
    expect(out).toContain('refused  bad.yml:7:');
    expect(out).toContain('there is no "t"');
    expect(out).toContain('1 rule (1 of them alert), 1 refused');
    const { out: json } = await run('check', root, '--json');
    expect(JSON.parse(json)).toMatchObject({
      rules: [{ title: 'Curl', author: 'A. U. Thor', file: path.join('a', 'good.yml') }],
      faults: [{ file: 'bad.yml', line: 7, code: 'condition' }],
    });
  });

  it('passes a good folder, a file alone, and refuses what is not there', async () => {
    const root = folder('checked', { 'good.yml': CURL });
    expect((await run('check', root)).code).toBe(0);
    expect((await run('check', path.join(root, 'good.yml'))).code).toBe(0);
    await expect(run('check', path.join(root, 'nothing'))).rejects.toThrow('no such file');
    await expect(run('judge', root)).rejects.toThrow('check, match, test');
  });

  it('prints nothing of a rule that a terminal would obey', async () => {
    const root = folder('escape', {
      'x.yml': CURL.replace('condition: s', '"condition": "\\e[2J"'),
    });
    expect((await run('check', root)).out).not.toContain('\u001b');
  });
});

describe('match', () => {
  it('takes events in Sigma’s fields, our own and Elastic’s, in the order of their times', async () => {
    const root = folder('match', { 'all.yml': `${CURL}---\n${OFTEN}`, 'eql.yaml': SEQUENCE });
    const curl = { cat: 'process_creation', Image: '/usr/bin/curl', User: 'u' };
    const events = path.join(dir, 'events.ndjson');
    fs.writeFileSync(
      events,
      lines([
        { ...curl, id: 'late', ts: 1_764_000_030_000 },
        { ...curl, id: 'early', ts: '2025-11-24T16:00:00Z' },
        { ...curl, id: 'other', cat: 'file_event', ts: 1_764_000_000_000 },
        own('exec', { seq: 1, exe: '/usr/bin/curl', argv: ['curl'] }),
        own('file', { seq: 2, file_op: 'create', file_path: '/x' }),
      ]),
    );
    const { code, out } = await run('match', '--rules', root, '--events', events, '--json');
    expect(code).toBe(0);
    const found = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(found.map(({ title, events: of, key }) => [title, of, key])).toEqual([
      ['Then', ['t-1', 't-2'], ['s']],
      ['Often', ['early', 'late'], ['u']],
    ]);
    expect(found[0]).toMatchObject({ rule: '00000000-0000-4000-8000-000000000003', level: 'high' });
    const { out: text } = await run('match', '--rules', root, '--events', events);
    expect(text).toContain('Often  by ["u"]  early late');
    expect(text).toContain('2 matches');
  });

  it('puts in placeholders, and tells a bad line by its number', async () => {
    const root = folder('expand', {
      'x.yml': CURL.replace('endswith', 'endswith|expand').replace('/curl', "'/%tool%'"),
    });
    const tools = path.join(folder('values', { 'tools.yml': 'tool: [curl, wget]\n' }), 'tools.yml');
    const events = path.join(dir, 'wget.ndjson');
    fs.writeFileSync(events, lines([{ cat: 'process_creation', Image: '/bin/wget', id: 'w' }]));
    const args = ['match', '--rules', root, '--events', events, '--json'];
    expect((await run(...args)).out).toBe('');
    expect(JSON.parse((await run(...args, '--placeholders', tools)).out).events).toEqual(['w']);
    fs.writeFileSync(events, '{"cat":"x"}\n[1]\n');
    await expect(run(...args)).rejects.toThrow(`${events}:2: is not a JSON object`);
    fs.writeFileSync(events, '{"ts":"soon"}\n');
    await expect(run(...args)).rejects.toThrow(`${events}:1: ts is no time`);
  });
});

describe('test', () => {
  const hit = {
    match: true,
    why: 'it is curl',
    events: [{ cat: 'process_creation', Image: '/bin/curl' }],
  };
  const miss = { ...hit, match: false, events: [{ cat: 'process_creation', Image: '/bin/curlx' }] };
  it('wants a hit and a near miss of each rule, and that they are', async () => {
    const report = async (name: string, examples: readonly object[] | undefined) => {
      const files = { 'x.yml': CURL, ...(examples && { 'x.examples.ndjson': lines(examples) }) };
      return run('test', folder(name, files));
    };
    expect((await report('both', [hit, miss])).code).toBe(0);
    expect(await report('none', undefined)).toMatchObject({ code: 1 });
    expect((await report('half', [hit])).out).toContain('no example of a near miss');
    const wrong = await report('wrong', [hit, { ...miss, events: hit.events }]);
    expect(wrong.code).toBe(1);
    expect(wrong.out).toContain(
      'x.examples.ndjson:2: 00000000-0000-4000-8000-000000000001 fires, and should not',
    );
    expect((await report('broken', [{ match: 1 }])).out).toContain(
      '"match" has to be true or false',
    );
  });

  it('runs correlations with the rules that they refer to, a second from event to event', async () => {
    const events = [hit, hit].flatMap((one) => one.events).map((one) => ({ ...one, User: 'u' }));
    const often = [
      { match: true, why: 'twice', events },
      { match: false, why: 'once', events: events.slice(1) },
    ];
    const root = folder('often', {
      'x.yml': `${CURL}---\n${OFTEN}`,
      'x.examples.ndjson': lines(often),
    });
    expect(await run('test', root)).toMatchObject({ code: 0 });
  });

  it('passes for the rules that ship', async () => {
    const { code, out } = await run('test', SHIPPED);
    expect(out).toContain('73 of 73 rules have a hit and a near miss');
    expect(code).toBe(0);
  });
});

describe('a folder', () => {
  it('gives its licence to rules that name none, and every shipped rule has author and licence', () => {
    for (const { meta } of readRuleFolder(SHIPPED).rules) {
      expect(meta.license).toBe('DRL-1.1');
      expect(meta.author, meta.file).toMatch(/\S/);
    }
    const named = { 'x.yml': `license: MIT\n${CURL}`, 'LICENSE.Detection.Rules.md': 'DRL' };
    expect(readRuleFolder(folder('named', named)).rules[0]?.meta.license).toBe('MIT');
  });
});

describe('the event reader', () => {
  it('flattens objects, keeps lists, and does not look for keywords in what is about the line', () => {
    const reader = createEventReader();
    const { views, timeNs, id } = reader.read(
      { logsource: { product: 'p', junk: 1 }, ts: 1.5, a: { b: [1, { c: 2 }] }, event_id: 'x' },
      1,
    );
    expect(views[0]?.source).toEqual({ product: 'p' });
    expect(views[0]?.fields.get('a.b')).toEqual([1, '{"c":2}']);
    expect(views[0]?.fields.names()).toEqual(['a.b']);
    expect([timeNs, id]).toEqual([1_500_000n, 'x']);
    const [view] = reader.read({ cat: 'auditd', type: 'CWD' }, 2).views;
    expect(view?.source).toEqual({ product: 'linux', category: 'auditd', service: 'auditd' });
  });
});
