/** The channels of one run, with a real receiver and real files, and no agent. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import type { Adapter } from '../../../collector/agents/adapter.ts';
import { CHANNEL_DEFAULTS, createAgentChannels } from '../../../collector/agents/channels.ts';
import { codex } from '../../../collector/agents/codex/adapter.ts';
import { genai } from '../../../collector/agents/genai.ts';
import { createTail } from '../../../collector/agents/tail.ts';
import type { Channels } from '../../../collector/record.ts';
import { startTelemetry } from '../../../deploy/demo/telemetry.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';

const CONVERSATION = '01a20740-e19d-7360-846f-8413b62c26a2';
const settings = { ...CHANNEL_DEFAULTS, pollMs: 20, quietMs: 60, settleMsMax: 2000 };
let dir: string;
let channels: Channels | undefined;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-channels-'));
});
afterEach(async () => {
  await channels?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(adapter: Adapter) {
  const drafts: Draft[] = [];
  const deps = { adapter, dir, log: fakeLog(), clock: createClock(), meter: fakeMeter(), settings };
  const opened = createAgentChannels(deps, (more) => void drafts.push(...more));
  channels = opened;
  await opened.start();
  const env = { CODEX_HOME: dir, HOME: dir };
  const command = await opened.prepare({ argv: ['codex', 'exec'], cwd: dir, env });
  return { drafts, command, channels: opened };
}

const coverageOf = (drafts: readonly Draft[]) =>
  Object.fromEntries(
    drafts.flatMap((draft) =>
      draft.kind === 'sensor' ? [[draft.sensor_name, draft.coverage]] : [],
    ),
  );

function writeSession(lines: readonly object[]): string {
  const folder = path.join(dir, 'sessions/2026/11/24');
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `rollout-2026-11-24T00-00-00-${CONVERSATION}.jsonl`);
  fs.appendFileSync(file, lines.map((one) => `${JSON.stringify(one)}\n`).join(''));
  return file;
}

const lineNow = (type: string, payload: object) => ({
  timestamp: new Date(Date.now() + 1).toISOString(),
  type,
  payload,
});
const meta = () =>
  lineNow('session_meta', { id: CONVERSATION, cwd: dir, timestamp: new Date().toISOString() });
const callLine = () =>
  lineNow('response_item', { type: 'function_call', call_id: 'call_1', name: 'exec_command' });

describe('the channels of a run', () => {
  it('record a GenAI agent by its environment alone', async () => {
    const { drafts, command, channels: opened } = await open(genai);
    const telemetry = startTelemetry(command.env.OTEL_EXPORTER_OTLP_ENDPOINT, 'test');
    const shared = { 'gen_ai.conversation.id': 'c', 'gen_ai.tool.call.id': 'call_1' };
    const now = performance.timeOrigin + performance.now();
    await telemetry.log('gen_ai.user.message', { 'gen_ai.conversation.id': 'c', content: 'hi Ω' });
    await telemetry.log('telltale.approval', {
      ...shared,
      decision: 'denied',
      decided_by: 'config',
      command: 'rm -rf x',
    });
    await telemetry.log('telltale.policy.decision', {
      ...shared,
      decision: 'deny',
      policy_type: 'network',
      'server.address': 'evil.example.com',
      'server.port': 80,
    });
    await telemetry.span('chat m', now - 5, {
      'gen_ai.operation.name': 'chat',
      'gen_ai.response.model': 'm',
      'gen_ai.usage.input_tokens': 7,
      'gen_ai.output.messages': JSON.stringify([{ role: 'assistant', content: 'hello' }]),
    });
    await telemetry.span('execute_tool shell', now - 5, {
      ...shared,
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'shell',
      'gen_ai.tool.call.arguments': '{"command":"exit 3"}',
      'gen_ai.tool.call.result': 'out',
      'process.exit.code': 3,
    });
    await opened.settle();
    expect(drafts).toMatchObject([
      { kind: 'prompt', prompt: 'hi Ω', prompt_bytes: 5 },
      { kind: 'approval', decision: 'denied', command: 'rm -rf x', tool_call_id: 'call_1' },
      { kind: 'policy.decision', decision: 'deny', net_host: 'evil.example.com', net_port: 80 },
      { kind: 'model.turn', model: 'm', text: 'hello', input_tokens: 7, outcome: 'success' },
      { kind: 'tool.call', tool: 'shell', command: 'exit 3', tool_call_id: 'call_1' },
      { kind: 'tool.result', exit_code: 3, outcome: 'failure', output: 'out' },
      { kind: 'sensor', sensor_name: 'otlp', coverage: 'complete' },
    ]);
  });

  it('follow the session file that telemetry names, and no other', async () => {
    const { drafts, command, channels: opened } = await open(codex);
    const other = path.join(dir, 'sessions/2026/11/24');
    writeSession([meta(), callLine()]);
    fs.writeFileSync(path.join(other, 'rollout-x-other.jsonl'), `${JSON.stringify(meta())}\n`);
    const endpoint = /endpoint = "(.*)\/v1\/logs"/.exec(command.argv.join(' '))?.[1];
    const telemetry = startTelemetry(endpoint, 'codex_exec');
    await telemetry.log('codex.user_prompt', { 'conversation.id': CONVERSATION, prompt: 'hi' });
    writeSession([lineNow('event_msg', { type: 'turn_aborted', reason: 'interrupted' })]);
    await opened.settle();
    expect(drafts.map((draft) => [draft.source, draft.kind])).toEqual([
      ['rollout', 'tool.call'],
      ['otlp', 'prompt'],
      ['rollout', 'model.turn'],
      ['collector', 'sensor'],
      ['collector', 'sensor'],
    ]);
    expect(coverageOf(drafts)).toEqual({ otlp: 'complete', rollout: 'complete' });
  });

  it('find the session file by directory and time when no telemetry came', async () => {
    const { drafts, channels: opened } = await open(codex);
    writeSession([meta(), callLine()]);
    await opened.settle();
    expect(drafts[0]).toMatchObject({ kind: 'tool.call', conversation_id: CONVERSATION });
    expect(coverageOf(drafts)).toEqual({ otlp: 'none', rollout: 'complete' });
  });

  it('count what can’t be mapped, and go on', async () => {
    const { drafts, channels: opened } = await open(codex);
    const file = writeSession([meta()]);
    fs.appendFileSync(file, '{broken\n');
    writeSession([lineNow('brand_new', {}), callLine()]);
    await opened.settle();
    expect(drafts[0]).toMatchObject({ kind: 'tool.call' });
    const rollout = drafts.find(
      (draft) => draft.kind === 'sensor' && draft.sensor_name === 'rollout',
    );
    expect(rollout).toMatchObject({
      coverage: 'partial',
      attrs: { records: '4', unmapped: '2' },
      reason: '2 of 4 could not be mapped',
    });
  });

  it('can be stopped twice', async () => {
    const { channels: opened } = await open(codex);
    await opened.stop();
    await opened.stop();
  });
});

describe('a tail', () => {
  it('gives whole lines, however they are cut, and skips only what is too long', async () => {
    const lines: string[] = [];
    const limits = { chunkBytes: 3, lineBytesMax: 16, directoriesMax: 8 };
    const tail = createTail((line) => void lines.push(line), limits);
    const file = path.join(dir, 'a.jsonl');
    tail.follow(file);
    expect(await tail.poll()).toBe(0);
    fs.writeFileSync(file, 'one Ω\ntw');
    await tail.poll();
    expect(lines).toEqual(['one Ω']);
    fs.appendFileSync(file, `o\n\n${'x'.repeat(40)}\nthree\n`);
    await tail.poll();
    expect(lines).toEqual(['one Ω', 'two', 'three']);
    expect(tail.lost).toBe(1);
  });
});
