/**
 * The Codex mapper on what the real CLI once sent. The captures lie beside the checkout and not in
 * it; without them this is skipped, and said so. `test/agents` runs the CLI itself.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { codex } from '../../../collector/agents/codex/adapter.ts';
import { decodeProtobuf } from '../../../collector/agents/otlp/protobuf.ts';
import { parseRequest, type Signal } from '../../../collector/agents/otlp/shape.ts';
import { fitDraft } from '../../../collector/fit.ts';

const archive = path.resolve(import.meta.dirname, '../../../../shared/agents/captures.tar.xz');
const there = fs.existsSync(archive);
if (!there) console.warn('SKIPPED: no captures beside the checkout');

interface Replayed {
  readonly drafts: readonly Draft[];
  readonly unmapped: number;
  readonly scripted: readonly { call_id?: string; tool: string }[];
}

const BODY = /^\d+-(logs|traces|metrics)\.(json|pb)$/;

/** What all channels of one captured run become: the session file first, as in a recording. */
function replay(dir: string): Replayed {
  const mapper = codex.mapper(0n);
  const drafts: Draft[] = [];
  let unmapped = 0;
  const add = (mapped: readonly Draft[] | undefined) => {
    if (mapped === undefined) unmapped++;
    else drafts.push(...mapped);
  };
  const sessions = path.join(dir, 'sessions');
  for (const name of fs.readdirSync(sessions, { recursive: true }).map(String).sort()) {
    if (!name.endsWith('.jsonl')) continue;
    const text = fs.readFileSync(path.join(sessions, name), 'utf8');
    for (const line of text.split('\n').filter((one) => one !== '')) add(mapper.line?.(line, name));
  }
  for (const name of fs.readdirSync(path.join(dir, 'otlp')).sort()) {
    const [, signal, encoding] = BODY.exec(name) ?? [];
    if (signal === undefined) continue;
    const bytes = fs.readFileSync(path.join(dir, 'otlp', name));
    const body =
      encoding === 'json' ? JSON.parse(bytes.toString()) : decodeProtobuf(signal as Signal, bytes);
    const parsed = parseRequest(signal as Signal, body);
    for (const span of parsed.spans) add(mapper.span(span));
    for (const record of parsed.logs) add(mapper.log(record));
  }
  const truth = JSON.parse(fs.readFileSync(path.join(dir, 'ground-truth.json'), 'utf8'));
  return { drafts, unmapped, scripted: truth.scriptedCalls };
}

describe.skipIf(!there)('captured Codex sessions', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-captures-'));
  beforeAll(() => void execFileSync('tar', ['xJf', archive, '-C', dir]));
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
  const of = (variant: string) => replay(path.join(dir, 'captures/codex', variant));

  it.each(['ww-json', 'dfa-binary', 'netproxy-json', 'autoreview-json', 'default-otel-json'])(
    '%s: every scripted call by both channels, nothing unknown, nothing to repair',
    (variant) => {
      const { drafts, unmapped, scripted } = of(variant);
      expect(unmapped).toBe(0);
      for (const { call_id: id, tool } of scripted) {
        if (id === undefined) continue;
        const mine = drafts.filter((draft) => draft.tool_call_id === id);
        for (const kind of ['tool.call', 'tool.result'])
          for (const source of ['otlp', 'rollout'])
            expect(
              mine.some((draft) => draft.kind === kind && draft.source === source),
              `${id} ${kind} ${source}`,
            ).toBe(true);
        expect(mine.some((draft) => draft.kind === 'tool.call' && draft.tool === tool)).toBe(true);
        expect(mine.every((draft) => draft.turn_id !== undefined)).toBe(true);
      }
      for (const draft of drafts) expect(fitDraft(draft).altered).toBeUndefined();
    },
  );

  it('has the same exit code from both channels, whatever success says', () => {
    const { drafts } = of('ww-json');
    const codes = (id: string) =>
      drafts.flatMap((draft) =>
        draft.kind === 'tool.result' && draft.tool_call_id === id ? (draft.exit_code ?? []) : [],
      );
    expect(codes('call_02_exit3')).toEqual([3, 3, 3]);
    expect(codes('call_06_curl_ok')).toEqual([7, 7, 7]);
    expect(codes('call_08_outside')).toEqual([1, 1]);
    expect(codes('call_11_escalate')).toEqual([]);
  });

  it('tells who decided: sandbox, policy, reviewer', () => {
    const decisions = (variant: string) =>
      of(variant).drafts.filter((draft) => draft.kind === 'policy.decision');
    expect(decisions('ww-json')).toMatchObject([
      { tool_call_id: 'call_08_outside', decided_by: 'sandbox', assurance: 'reported' },
    ]);
    const network = decisions('netproxy-json').filter((draft) => draft.policy_type === 'network');
    expect(network.map((draft) => [draft.decision, draft.net_host])).toEqual([
      ['deny', 'evil.example.com'],
      ['allow', '127.0.0.1'],
      ['deny', 'unlisted.example.net'],
      ['deny', 'evil.example.com'],
    ]);
    const reviewed = of('autoreview-json').drafts.filter(
      (draft) => draft.kind === 'approval' && draft.decided_by === 'reviewer',
    );
    expect(reviewed).toMatchObject([
      { tool_call_id: 'call_11_escalate', decision: 'approved' },
      { tool_call_id: 'call_e2_escalate_deny', decision: 'denied' },
    ]);
  });

  it('tells a thread of its own with its parent, and nothing else so', () => {
    const { drafts } = of('autoreview-json');
    const whose = (draft: Draft) => ('attrs' in draft ? draft.attrs : undefined);
    const reviewer = drafts.filter((draft) => whose(draft)?.parent_agent_id !== undefined);
    expect(reviewer.length).toBeGreaterThan(0);
    for (const draft of reviewer)
      expect(whose(draft)).toMatchObject({
        'gen_ai.agent.id': draft.conversation_id,
        'gen_ai.agent.name': 'guardian',
        parent_agent_id: '01a20741-36d4-7fe0-b2c1-2deab7463dfb',
      });
    const own = new Set(reviewer.map((draft) => draft.conversation_id));
    expect(own.size).toBe(1);
    for (const draft of drafts)
      if (!own.has(draft.conversation_id)) expect(whose(draft)?.parent_agent_id).toBeUndefined();
  });

  it('has each hook of a session', () => {
    const hooks = path.join(dir, 'captures/codex/ww-json/hooks');
    const mapper = codex.mapper(0n);
    const names = fs.readdirSync(hooks).filter((name) => name.endsWith('.json'));
    const mapped = names.map((name) => {
      const payload: unknown = JSON.parse(fs.readFileSync(path.join(hooks, name), 'utf8'));
      return mapper.hook?.(name, payload, name.split('-')[0] ?? '');
    });
    expect(mapped).not.toContain(undefined);
    const calls = mapped.flat().filter((draft) => draft?.kind === 'tool.call');
    expect(calls.length).toBeGreaterThanOrEqual(13);
    expect(calls.every((draft) => draft?.tool_call_id && draft.turn_id)).toBe(true);
  });
});
