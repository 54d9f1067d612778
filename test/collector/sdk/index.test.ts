/**
 * The SDK end to end: a real OpenTelemetry SDK exports what it tells to our receiver, and the
 * mapper for any agent makes events of it.
 */
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { genai } from '../../../collector/agents/genai.ts';
import { createReceiver } from '../../../collector/agents/otlp/receiver.ts';
import { fitDraft } from '../../../collector/fit.ts';
import {
  CALL_KEY,
  childEnv,
  recordApproval,
  recordToolCall,
  recordTurn,
} from '../../../collector/sdk/index.ts';
import { fakeLog } from '../../fakes/ports.ts';

const mapper = genai.mapper(0n);
const drafts: Draft[] = [];
let unmapped = 0;
const receiver = createReceiver(
  {
    async otlp(_signal, { spans }) {
      for (const span of spans) {
        const mapped = mapper.span(span);
        if (mapped === undefined) unmapped++;
        else drafts.push(...mapped);
      }
    },
    hook: async () => {},
    refused: () => {
      unmapped++;
    },
  },
  fakeLog(),
);
let provider: BasicTracerProvider;

beforeAll(async () => {
  await receiver.start();
  const exporter = new OTLPTraceExporter({ url: `${receiver.url}/v1/traces` });
  provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});
afterEach(() => {
  drafts.length = 0;
});
afterAll(async () => {
  await provider.shutdown();
  trace.disable();
  context.disable();
  await receiver.stop();
});

/** What came of it, once it is all exported. */
async function told(): Promise<readonly Draft[]> {
  await provider.forceFlush();
  expect(unmapped).toBe(0);
  for (const draft of drafts) expect(fitDraft(draft).altered).toBeUndefined();
  return [...drafts];
}

const only = (all: readonly Draft[], kind: Draft['kind']) =>
  all.filter((draft) => draft.kind === kind);

describe('the SDK', () => {
  it('tells prompt, call and result of one turn', async () => {
    const made = await recordTurn({ prompt: 'Fix add()', conversationId: 'c1' }, () =>
      recordToolCall(
        { tool: 'shell', id: 'call_1', arguments: { command: 'exit 3' }, mcpServer: 'lab' },
        (call) => {
          call.exitCode(3);
          call.output('out');
          return 'made';
        },
      ),
    );
    expect(made).toBe('made');
    const all = await told();
    const [prompt] = only(all, 'prompt');
    expect(prompt).toMatchObject({
      prompt: 'Fix add()',
      prompt_bytes: 9,
      conversation_id: 'c1',
      assurance: 'reported',
    });
    const shared = { tool_call_id: 'call_1', conversation_id: 'c1', turn_id: prompt?.turn_id };
    expect(only(all, 'tool.call')).toMatchObject([
      { ...shared, tool: 'shell', command: 'exit 3', mcp_server: 'lab' },
    ]);
    expect(only(all, 'tool.result')).toMatchObject([
      { ...shared, outcome: 'failure', exit_code: 3, output: 'out' },
    ]);
  });

  it('gives a child what ties it to its call: the span of the call, and its id', async () => {
    const env = await recordToolCall({ tool: 'shell', id: 'call_2' }, () =>
      childEnv({ PATH: '/bin', EMPTY: undefined }),
    );
    const [call] = only(await told(), 'tool.call');
    expect(env).toEqual({
      PATH: '/bin',
      [CALL_KEY]: 'call_2',
      TRACEPARENT: `00-${call?.trace_id}-${call?.span_id}-01`,
    });
    expect(childEnv()).toEqual({});
  });

  it('keeps two calls at one time apart', async () => {
    const envs = await Promise.all(
      ['a', 'b'].map((id) =>
        recordToolCall({ tool: 'shell', id }, async () => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          return childEnv()[CALL_KEY];
        }),
      ),
    );
    expect(envs).toEqual(['a', 'b']);
    expect(
      only(await told(), 'tool.call')
        .map((draft) => draft.tool_call_id)
        .sort(),
    ).toEqual(['a', 'b']);
  });

  it('tells question and answer as one record, with what was shown and how long it took', async () => {
    const answer = await recordApproval(
      {
        tool: 'shell',
        toolCallId: 'call_3',
        command: 'rm -rf build',
        shown: 'May I run: rm -rf build?',
        policy: 'ask',
        policyVersion: '7',
      },
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return { decision: 'denied', decidedBy: 'user', scope: 'once', reason: 'no' } as const;
      },
    );
    expect(answer.decision).toBe('denied');
    const [approval] = only(await told(), 'approval');
    expect(approval).toMatchObject({
      tool_call_id: 'call_3',
      decision: 'denied',
      decided_by: 'user',
      scope: 'once',
      command: 'rm -rf build',
      policy: 'ask',
      policy_version: '7',
      reason: 'no',
      shown_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      attrs: { shown: 'May I run: rm -rf build?' },
    });
    const { duration_ns } = approval as { duration_ns?: number };
    expect(duration_ns).toBeGreaterThan(15_000_000);
  });

  it('tells a refused call and a failing one, and hands the failure on', async () => {
    await recordToolCall({ tool: 'shell', id: 'refused' }, (call) => call.denied('not allowed'));
    const broken = recordToolCall({ tool: 'fetch', id: 'broken' }, () => {
      throw new TypeError('no host');
    });
    await expect(broken).rejects.toThrow('no host');
    expect(only(await told(), 'tool.result')).toMatchObject([
      { tool_call_id: 'refused', outcome: 'denied', error: 'not allowed' },
      { tool_call_id: 'broken', outcome: 'failure', error: 'no host' },
    ]);
  });

  it('ties a sub-agent to the call that started it, in the turn of its parent', async () => {
    await recordTurn({ prompt: 'outer' }, () =>
      recordToolCall({ tool: 'agent', id: 'spawn' }, () =>
        recordTurn({ prompt: 'inner', agent: { id: 's1', name: 'explorer' } }, () =>
          recordToolCall({ tool: 'shell', id: 'deep' }, () => 'done'),
        ),
      ),
    );
    const all = await told();
    const [outer, inner] = only(all, 'prompt');
    expect(inner).toMatchObject({
      turn_id: outer?.turn_id,
      attrs: {
        'gen_ai.agent.id': 's1',
        'gen_ai.agent.name': 'explorer',
        parent_tool_call_id: 'spawn',
      },
    });
    expect(only(all, 'tool.call').find((draft) => draft.tool_call_id === 'deep')).toMatchObject({
      turn_id: outer?.turn_id,
      attrs: { 'gen_ai.agent.id': 's1' },
    });
  });
});
