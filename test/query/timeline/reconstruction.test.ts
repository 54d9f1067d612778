/**
 * Claude Code, Gemini CLI and opencode through their mappers into the reconstruction: small sessions
 * by hand in the measured shapes, which run everywhere; and what the real CLIs once sent, which lies
 * beside the checkout (Codex: captures.test.ts). Both hold the agents' words only, without a kernel
 * sensor: all that they said is there, once, and nothing that was not seen is held against them.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Adapter, findAdapter } from '../../../collector/agents/index.ts';
import { assess } from '../../../query/timeline/assess.ts';
import { buildStory, type CallItem } from '../../../query/timeline/story.ts';
import { buildTriage } from '../../../query/timeline/triage.ts';
import { type Captures, capturesThere, unpackCaptures } from '../../collector/agents/captured.ts';
import { CLAUDE, GEMINI, give, type Input, OPENCODE } from '../../collector/agents/samples.ts';
import { stampStream } from '../seed.ts';
import { sessionOf } from './events.ts';

/** What the plugin that the collector installs writes first, and the captures' own did not. */
const HEAD: readonly Input[] = [
  { channel: 'line', file: 'x', record: { at: 1_795_418_039_000, argv: ['opencode', 'run', 'x'] } },
  { channel: 'line', file: 'x', record: { at: 1_795_418_039_000, mcp: ['lab'] } },
];

function rebuild(agent: string, inputs: readonly Input[]) {
  const mapper = (findAdapter(agent, []) as Adapter).mapper(0n);
  // No hooks are installed for Gemini CLI: they have no id of the call.
  const taken = inputs.filter(({ channel }) => agent !== 'gemini' || channel !== 'hook');
  const drafts = taken.flatMap((input) => give(mapper, input) ?? []);
  const stamped = stampStream({ drafts: [...drafts, ...(mapper.end?.() ?? [])] });
  const data = sessionOf(stamped.map(({ event }) => event));
  const made = assess(data.events, data.streams);
  const story = buildStory(data, made);
  const items = story.turns.flatMap(({ items }) => items);
  const calls = new Map(
    items.flatMap((item) => (item.type === 'call' ? [[item.call.id, item] as const] : [])),
  );
  return { data, made, story, items, calls };
}

type Rebuilt = ReturnType<typeof rebuild>;
const ending = ({ call, approvals }: CallItem) =>
  [call.outcome, call.exitCode?.code, approvals.map((a) => `${a.decision} ${a.decided_by}`)].flat();
const failed = ({ calls }: Rebuilt) =>
  [...calls.values()].filter(({ call }) => call.outcome === 'failure').map(({ call }) => call.id);
const claimed = ({ made }: Rebuilt) =>
  made.files().list.map(({ paths, versions }) => [paths[0], versions.map(({ op }) => op)]);

/** What holds of each session that only its agent told of. */
function expectWords({ data, made, story, calls }: Rebuilt): void {
  expect(calls.size).toBe(made.analysis.calls.length);
  expect([made.drift(), made.claims(), story.findings]).toEqual([[], [], []]);
  for (const { call } of calls.values())
    expect([call.id, call.contradictions]).toEqual([call.id, []]);
  for (const { prompts } of story.turns)
    expect(new Set(prompts.map(({ prompt }) => prompt).filter(Boolean)).size).toBe(1);
  expect(made.network()).toEqual([]);
  const { startedNs, endedNs } = story.session;
  expect(made.coverage().of(startedNs, endedNs).verdict).not.toBe('complete');
  const request = buildTriage(data, made, story).request.map(({ event }) => event.prompt);
  expect(request.filter(Boolean)).not.toHaveLength(0);
  for (const prompt of request) expect(prompt ?? '').not.toMatch(/^SUB/);
}

describe('sessions by hand', () => {
  const all = {
    claude: rebuild('claude', CLAUDE),
    gemini: rebuild('gemini', GEMINI),
    opencode: rebuild('opencode', OPENCODE),
  };

  it.each(Object.entries(all))('%s: each call once, nothing made up', (_, rebuilt) => {
    expectWords(rebuilt);
    expect(rebuilt.story.turns).toHaveLength(1);
    expect(claimed(rebuilt)).toEqual([['/w/a.txt', ['claimed']]]);
  });

  it.each([
    ['claude', 'toolu_exit', ['failure', 3, 'approved user'], 'toolu_curl', 'denied hook'],
    [
      'gemini',
      'run_shell_command__fc_exit',
      ['failure', 3, 'approved config'],
      'run_shell_command__fc_no',
      'denied config',
    ],
    ['opencode', 'call_exit', ['failure', 3], 'call_no', 'denied config'],
  ] as const)('%s: how a call ended, and who said no', (agent, ended, how, refused, who) => {
    const { calls } = all[agent];
    expect(ending(calls.get(ended) as CallItem)).toEqual(how);
    expect(ending(calls.get(refused) as CallItem)).toEqual(['denied', undefined, who]);
  });

  it.each([
    // Its type is told by hooks and telemetry only, which this session has not of it.
    ['claude', 'toolu_agent', 'toolu_sub', undefined],
    ['opencode', 'call_task', 'call_sub', 'general'],
  ] as const)('%s: the subagent with its call, its type and its task', (agent, task, sub, type) => {
    const { made, items } = all[agent];
    const [main, child] = made.agents().list;
    expect(main?.type).toBeUndefined();
    expect(child).toMatchObject({ parentId: main?.id, spawnCallId: task, callIds: [sub] });
    expect(child?.type).toBe(type);
    expect(main?.callIds).not.toContain(sub);
    if (agent === 'claude')
      expect(items.some((i) => i.type === 'message' && i.event.prompt === 'SUBTASK')).toBe(true);
  });
});

describe.skipIf(!capturesThere)('captured sessions', () => {
  let captures: Captures;
  beforeAll(() => {
    captures = unpackCaptures();
  });
  afterAll(() => captures.remove());

  it.each([
    ['claude', 'bypass-json', 2, ['toolu_02exit3', 'toolu_09curl_denied', 'toolu_10webfetch'], 18],
    ['claude', 'allowlist-json', 1, [], 18],
    ['claude', 'default-flags-json', 1, ['toolu_02exit3', 'toolu_09curl_denied'], 18],
    ['gemini', 'yolo-http', 2, ['run_shell_command__fc_02exit3', 'write_file__fc_11outside'], 13],
    ['gemini', 'default-flags-http', 1, ['run_shell_command__fc_02exit3'], 0],
    ['opencode', 'run-auto', 2, ['call_02exit3', 'call_09curl_denied', 'call_15unknown'], 1],
  ] as const)('%s %s: what was scripted, and no more', (agent, variant, turns, bad, decided) => {
    const inputs = captures.inputs(agent, variant);
    const rebuilt = rebuild(agent, agent === 'opencode' ? [...HEAD, ...inputs] : inputs);
    const { story, items, calls, made } = rebuilt;
    expectWords(rebuilt);
    const said = items.flatMap((item) => (item.type === 'message' ? (item.event.text ?? []) : []));
    expect(new Set(said).size).toBe(said.length);
    const scripted = captures.scripted(agent, variant).map(({ id }) => id);
    expect([...calls.keys()].sort()).toEqual([...new Set(scripted)].sort());
    expect(story.turns).toHaveLength(turns);
    expect(failed(rebuilt)).toEqual(expect.arrayContaining([...bad]));
    expect(made.reviews()).toHaveLength(decided);
    expect(story.counts.deniedCalls).toBe(variant === 'allowlist-json' ? 7 : 0);
    const files = claimed(rebuilt).map(([path, ops]) => [String(path).split('/').pop(), ops]);
    expect(files.slice(0, 2)).toEqual([
      ['todo.md', ['claimed']],
      ['app.py', ['claimed']],
    ]);
    if (agent === 'gemini') return;
    const [main, sub] = made.agents().list;
    expect([main?.type, sub?.type?.startsWith('general')]).toEqual([undefined, true]);
    expect(sub?.callIds).toHaveLength(1);
    expect(main?.callIds).toHaveLength(scripted.length - 1);
    if (agent === 'opencode') {
      expect(calls.get('call_mcp')?.call.mcpServer).toBe('lab');
      expect(ending(calls.get('call_11outside') as CallItem)).toContain('approved config');
    }
  });
});
