/**
 * The demo's agent: a real process that asks a (scripted) model what to do, runs shell commands,
 * writes files and calls hosts under a small policy, and reports itself over OTLP like any agent.
 *
 *     node agent.js MODEL_URL ALLOWED_HOST PROMPT
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { nowMs, startTelemetry } from './telemetry.ts';

const [modelUrl = '', allowedHost = '', prompt = ''] = process.argv.slice(2);
const telemetry = startTelemetry(process.env.OTEL_EXPORTER_OTLP_ENDPOINT, 'demo-agent');
const conversation = `demo-${process.pid}`;
const shared = { 'gen_ai.conversation.id': conversation, 'gen_ai.agent.name': 'demo-agent' };

interface Outcome {
  readonly output: string;
  readonly exitCode?: number;
  readonly error?: string;
}
type Args = Readonly<Record<string, unknown>>;

/** Runs a command; the environment tells the sensor which call it belongs to. */
function shell(id: string, command: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, TELLTALE_TOOL_CALL_ID: id };
    const child = spawn('sh', ['-c', command], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => {
        output += data.toString();
      });
    child.on('close', (code) => resolve({ output, exitCode: code ?? 1 }));
  });
}

async function decide(id: string, host: string, port: number): Promise<boolean> {
  const allow = host === allowedHost;
  await telemetry.log('telltale.policy.decision', {
    ...shared,
    'gen_ai.tool.call.id': id,
    decision: allow ? 'allow' : 'deny',
    policy_type: 'network',
    'server.address': host,
    'server.port': port,
    rule: 'egress-allow-list',
  });
  return allow;
}

async function fetchUrl(id: string, url: URL): Promise<Outcome> {
  if (!(await decide(id, url.hostname, Number(url.port || 80))))
    return { output: '', error: `denied by policy: ${url.hostname} is not on the allow list` };
  const response = await fetch(url);
  return { output: await response.text() };
}

/** A destructive command needs a person; nobody is there, so the answer is no. */
async function askApproval(id: string, command: string): Promise<boolean> {
  await telemetry.log('telltale.approval', {
    ...shared,
    'gen_ai.tool.call.id': id,
    decision: 'denied',
    decided_by: 'config',
    command,
    reason: 'nobody is there to approve a destructive command',
  });
  return false;
}

async function execute(id: string, name: string, args: Args): Promise<Outcome> {
  if (name === 'write_file') {
    fs.writeFileSync(String(args.path), String(args.content));
    return { output: 'written' };
  }
  if (name === 'fetch') return fetchUrl(id, new URL(String(args.url)));
  if (name === 'shell') {
    const command = String(args.command);
    if (args.ask === true && !(await askApproval(id, command)))
      return { output: '', error: 'denied: not approved' };
    return shell(id, command);
  }
  return { output: '', error: `no such tool: ${name}` };
}

interface Message {
  readonly role: string;
  readonly content: string;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}

interface Completion {
  readonly id: string;
  readonly model: string;
  readonly choices: readonly { readonly finish_reason: string; readonly message: Message }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

async function think(messages: readonly Message[]): Promise<Message> {
  const startMs = nowMs();
  const response = await fetch(`${modelUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo-model', messages }),
  });
  const completion = (await response.json()) as Completion;
  const choice = completion.choices[0];
  if (choice === undefined) throw new Error('the model gave no choice');
  await telemetry.span(`chat ${completion.model}`, startMs, {
    ...shared,
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'demo',
    'gen_ai.response.model': completion.model,
    'gen_ai.response.id': completion.id,
    'gen_ai.response.finish_reasons': choice.finish_reason,
    'gen_ai.usage.input_tokens': completion.usage.prompt_tokens,
    'gen_ai.usage.output_tokens': completion.usage.completion_tokens,
    'gen_ai.output.messages': JSON.stringify([choice.message]),
  });
  return choice.message;
}

async function useTool(call: NonNullable<Message['tool_calls']>[number]): Promise<Message> {
  const startMs = nowMs();
  const args = JSON.parse(call.function.arguments) as Args;
  const outcome = await execute(call.id, call.function.name, args);
  await telemetry.span(
    `execute_tool ${call.function.name}`,
    startMs,
    {
      ...shared,
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': call.function.name,
      'gen_ai.tool.call.id': call.id,
      'gen_ai.tool.call.arguments': call.function.arguments,
      'gen_ai.tool.call.result': outcome.output,
      ...(outcome.exitCode === undefined ? {} : { 'process.exit.code': outcome.exitCode }),
    },
    outcome.error,
  );
  return { role: 'tool', tool_call_id: call.id, content: outcome.error ?? outcome.output };
}

const TURNS_MAX = 20;

async function main(): Promise<void> {
  await telemetry.log('gen_ai.user.message', { ...shared, content: prompt });
  const messages: Message[] = [{ role: 'user', content: prompt }];
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    const answer = await think(messages);
    messages.push(answer);
    if (answer.content !== '') console.log(`agent: ${answer.content}`);
    const calls = answer.tool_calls ?? [];
    if (calls.length === 0) return;
    for (const call of calls) messages.push(await useTool(call));
  }
}

await main();
