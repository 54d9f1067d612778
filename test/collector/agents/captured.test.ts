/** Claude Code, Gemini CLI and opencode on what the real CLIs once sent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { type Adapter, findAdapter } from '../../../collector/agents/index.ts';
import { fitDraft } from '../../../collector/fit.ts';
import { type Captures, capturesThere, unpackCaptures } from './captured.ts';
import { give } from './samples.ts';

describe.skipIf(!capturesThere)('captured sessions', () => {
  let captures: Captures;
  beforeAll(() => {
    captures = unpackCaptures();
  });
  afterAll(() => captures.remove());

  function map(agent: string, variant: string): readonly Draft[] {
    const mapper = (findAdapter(agent, []) as Adapter).mapper(0n);
    const unknown: unknown[] = [];
    // No hooks are installed for Gemini CLI: they have no id of the call.
    const inputs = captures
      .inputs(agent, variant)
      .filter(({ channel }) => agent !== 'gemini' || channel !== 'hook');
    const drafts = inputs.flatMap((input) => {
      const mapped = give(mapper, input);
      if (mapped === undefined) unknown.push(input.record);
      return mapped ?? [];
    });
    // What our plugin does not write was written by the capture's.
    const ours = unknown.filter((record) => agent !== 'opencode' || 'argv' in Object(record));
    expect(ours.slice(0, 3)).toEqual([]);
    for (const draft of drafts) expect(fitDraft(draft).altered).toBeUndefined();
    return [...drafts, ...(mapper.end?.() ?? [])];
  }

  it.each([
    ['claude', 'bypass-json', ['hook', 'otlp', 'transcript']],
    ['claude', 'allowlist-json', ['transcript']],
    ['claude', 'default-flags-json', ['hook', 'transcript']],
    ['gemini', 'yolo-http', ['chat', 'otlp']],
    // Without the arguments, which the default leaves out, a log names no call.
    ['gemini', 'default-flags-http', ['chat']],
    ['opencode', 'run-auto', ['plugin']],
  ] as const)(
    '%s %s: every scripted call, with its end, by each channel',
    (agent, variant, sources) => {
      const drafts = map(agent, variant);
      const scripted = captures.scripted(agent, variant);
      expect(scripted.length).toBeGreaterThan(13);
      for (const { id } of scripted) {
        const mine = drafts.filter((draft) => draft.tool_call_id === id);
        // A tool that does not exist is told by the session file alone.
        const by = /unknown/.test(id) && agent === 'claude' ? ['transcript'] : sources;
        for (const kind of ['tool.call', 'tool.result'])
          for (const source of by)
            expect(
              mine.some((draft) => draft.kind === kind && draft.source === source),
              `${id} ${kind} ${source}`,
            ).toBe(true);
      }
    },
  );

  const codes = (drafts: readonly Draft[], id: string) =>
    drafts.flatMap((draft) =>
      draft.kind === 'tool.result' && draft.tool_call_id === id ? (draft.exit_code ?? []) : [],
    );

  it('has the exit codes that the channels tell, whatever success says', () => {
    expect(codes(map('claude', 'bypass-json'), 'toolu_02exit3')).toEqual([3, 3]);
    expect(codes(map('gemini', 'yolo-http'), 'run_shell_command__fc_02exit3')).toEqual([3, 3]);
    expect(codes(map('opencode', 'run-auto'), 'call_02exit3')).toEqual([3]);
  });

  it('tells all seven refusals of a session of which telemetry decides two', () => {
    const drafts = map('claude', 'allowlist-json');
    const refused = drafts.filter(
      (draft) => draft.kind === 'approval' && draft.decision === 'denied',
    );
    expect(
      refused
        .map((draft) => `${draft.tool_call_id} ${'decided_by' in draft && draft.decided_by}`)
        .sort(),
    ).toEqual([
      'toolu_01env config',
      'toolu_02exit3 config',
      'toolu_07shellwrite config',
      'toolu_08curl_ok config',
      'toolu_09curl_denied hook',
      'toolu_10webfetch config',
      'toolu_11outside config',
    ]);
    for (const { tool_call_id: id } of refused)
      expect(
        drafts.find((draft) => draft.kind === 'tool.result' && draft.tool_call_id === id),
        id,
      ).toMatchObject({ outcome: 'denied' });
  });
});
