/**
 * A secret in any field of any record that any channel brings: telemetry, session files, hooks and
 * plugins of each agent, a host's sensor, the egress proxy. Nothing of it is left once redacted, which
 * is what every draft is before anything else happens to it; `redact.test.ts` holds that to the spool.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { type Adapter, findAdapter } from '../../collector/agents/index.ts';
import { decisionDraft, passedDraft, questionDraft } from '../../collector/egress/events.ts';
import { readPolicy } from '../../collector/egress/policy.ts';
import { FALCO } from '../../collector/feeds/falco.ts';
import { TETRAGON } from '../../collector/feeds/tetragon.ts';
import { createRedactor } from '../../collector/redact.ts';
import { CLAUDE, GEMINI, GENAI, give, type Input, OPENCODE, placesOf } from './agents/samples.ts';
import { CODEX } from './agents/samples-codex.ts';

const redact = createRedactor({ key: Buffer.alloc(32, 7), content: 'full' });
/** Put together here, so that no text of this file looks like a secret to others' scanners. */
const BODY = 'q7Xv9Lk2Pz4Rt8Wm1Nc6Bd3Fh5Gj0Sa8Ue2Y';
const SECRET = `ghp_${BODY}`;
const PLANTED = [SECRET, `/tmp/${SECRET}/x`, `curl -H "Authorization: Bearer ${SECRET}" https://h`];

const hidden = (drafts: readonly Draft[]) => {
  for (const draft of drafts)
    expect(JSON.stringify(redact(draft))).not.toContain(BODY.slice(4, 24));
};
const planted = (drafts: readonly Draft[]) =>
  drafts.filter((draft) => JSON.stringify(draft).includes(SECRET)).length;

/** The record with a secret in place of one of its texts, for each of them. */
function* withSecret(record: unknown): Generator<unknown> {
  for (const [at, [owner, key]] of placesOf(record).entries()) {
    if (typeof owner[key] !== 'string') continue;
    const copy = structuredClone(record);
    const [place, name] = placesOf(copy)[at] ?? [];
    if (place === undefined || name === undefined) continue;
    const text = String(place[name]);
    // Of JSON within a text the inside is what an agent's words stand in.
    place[name] = text.startsWith('{')
      ? JSON.stringify({ ...JSON.parse(text), command: PLANTED[2] })
      : PLANTED[at % PLANTED.length];
    yield copy;
  }
}

const SAMPLES = { claude: CLAUDE, codex: CODEX, gemini: GEMINI, opencode: OPENCODE, genai: GENAI };
describe.each(Object.entries(SAMPLES))('%s', (name, inputs) => {
  it('lets no secret through, whichever channel and field it stands in', () => {
    let through = 0;
    for (const [at, input] of inputs.entries())
      for (const record of withSecret(input.record)) {
        const mapper = (findAdapter(name, []) as Adapter).mapper(0n);
        const changed = { ...input, record } as Input;
        const drafts = [...inputs.slice(0, at), changed].flatMap((one) => give(mapper, one) ?? []);
        const all = [...drafts, ...(mapper.end?.() ?? [])];
        through += planted(all);
        hidden(all);
      }
    expect(through).toBeGreaterThan(inputs.length / 2);
  });
});

/** What Falco tells by our rules; its documented lines name no process. */
const ALERTS = [
  { 'evt.type': 'execve', 'proc.exepath': '/bin/sh', 'proc.cmdline': 'sh -c x', 'proc.cwd': '/w' },
  { 'evt.type': 'openat', 'fd.name': '/w/a', 'evt.arg.flags': 'O_WRONLY' },
  { 'evt.type': 'connect', 'fd.rip': '1.2.3.4', 'fd.rport': 443, 'fd.sip.name': 'h.test' },
  { 'evt.type': 'renameat2', 'fs.path.source': '/w/a', 'fs.path.target': '/w/b' },
].map((fields) => ({
  ...{ rule: 'Telltale', time: '2026-11-25T12:50:34.5Z', source: 'syscall' },
  output_fields: { 'proc.pid': 7, 'proc.ppid': 1, ...fields },
}));
const exported = path.resolve(import.meta.dirname, '../fixtures/feeds/tetragon.ndjson');
const EXPORTED = fs.readFileSync(exported, 'utf8').trim().split('\n');

describe.each([
  [FALCO, ALERTS],
  [TETRAGON, EXPORTED.map((line): unknown => JSON.parse(line))],
] as const)('a feed', ({ source, read }, lines) => {
  it(`of ${source} lets no secret through`, () => {
    let through = 0;
    for (const line of lines)
      for (const record of withSecret(line)) {
        const fact = read(record);
        if (fact?.what !== 'event') continue;
        const draft = { ...fact.fields, source, assurance: 'observed', pid: fact.pid } as Draft;
        through += planted([draft]);
        hidden([draft]);
      }
    expect(through).toBeGreaterThan(5);
  });
});

it('the egress proxy and the resolver let no secret through', () => {
  const policy = readPolicy({ name: 'p', default: 'allow' }, 'ab'.repeat(32));
  const asker = { foundBy: 'socket' as const, pid: 7 };
  const verdict = { decision: 'allow' as const, rule: 'r', reason: `because of ${SECRET}` };
  const target = { method: 'GET', host: `${SECRET}.test`, port: 80, url: `http://h/?k=${SECRET}` };
  const facts = { ts: '1795418039000000000', asker, connection: '1', target };
  const attrs = { 'tls.server.name': `${SECRET}.test` };
  const ended = { bytesIn: 1, bytesOut: 1, durationNs: 1, outcome: 'failure' as const };
  const drafts = [
    decisionDraft(policy, { ...facts, verdict, attrs }),
    passedDraft({ ...facts, ...ended, error: SECRET, attrs }),
    questionDraft(
      {
        ...{ name: `${SECRET}.test`, type: 'TXT', verdict, answers: [SECRET], rcode: 'NOERROR' },
        client: { tcp: false } as never,
        beganNs: 0n,
      },
      { ts: facts.ts, durationNs: 1, asker },
    ),
  ];
  expect(planted(drafts)).toBe(drafts.length);
  hidden(drafts);
});
