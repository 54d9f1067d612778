/**
 * A scripted model: the OpenAI Responses API as a server on loopback, streaming. Each request gets
 * the step of the script that follows the tool outputs that the agent has sent so far.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export type Item =
  | { readonly type: 'message'; readonly text: string; readonly phase?: string }
  | { readonly type: 'reasoning'; readonly text: string }
  | {
      readonly type: 'function_call';
      readonly name: string;
      readonly call_id: string;
      readonly arguments: string;
    }
  | {
      readonly type: 'custom_tool_call';
      readonly name: string;
      readonly call_id: string;
      readonly input: string;
    };

export interface Model {
  readonly url: string;
  /** Requests for a response that were answered. */
  readonly requests: number;
  stop(): Promise<void>;
}

type Send = (type: string, fields: object) => void;

function sendMessage(send: Send, id: string, index: number, item: Item & { type: 'message' }) {
  const part = { type: 'output_text', text: item.text, annotations: [] };
  const done = {
    type: 'message',
    id,
    role: 'assistant',
    status: 'completed',
    phase: item.phase ?? 'final_answer',
    content: [part],
  };
  const at = { item_id: id, output_index: index, content_index: 0 };
  send('response.output_item.added', {
    output_index: index,
    item: { ...done, status: 'in_progress', content: [] },
  });
  send('response.content_part.added', { ...at, part: { ...part, text: '' } });
  send('response.output_text.delta', { ...at, delta: item.text });
  send('response.output_text.done', { ...at, text: item.text });
  send('response.output_item.done', { output_index: index, item: done });
  return done;
}

function sendReasoning(send: Send, id: string, index: number, text: string) {
  const part = { type: 'summary_text', text };
  const item = { type: 'reasoning', id, summary: [part], encrypted_content: 'scripted' };
  const at = { item_id: id, output_index: index, summary_index: 0 };
  send('response.output_item.added', { output_index: index, item: { ...item, summary: [] } });
  send('response.reasoning_summary_part.added', { ...at, part: { ...part, text: '' } });
  send('response.reasoning_summary_text.delta', { ...at, delta: text });
  send('response.output_item.done', { output_index: index, item });
  return item;
}

function sendItem(send: Send, id: string, index: number, item: Item): object {
  if (item.type === 'message') return sendMessage(send, id, index, item);
  if (item.type === 'reasoning') return sendReasoning(send, id, index, item.text);
  const done = { ...item, id, status: 'completed' };
  send('response.output_item.added', {
    output_index: index,
    item: { ...done, status: 'in_progress' },
  });
  send('response.output_item.done', { output_index: index, item: done });
  return done;
}

function stream(response: http.ServerResponse, responseId: string, items: readonly Item[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let sequence = 0;
  const send: Send = (type, fields) => {
    const data = JSON.stringify({ type, sequence_number: sequence++, ...fields });
    response.write(`event: ${type}\ndata: ${data}\n\n`);
  };
  const shared = { id: responseId, object: 'response', created_at: Math.floor(Date.now() / 1000) };
  send('response.created', { response: { ...shared, status: 'in_progress', output: [] } });
  const output = items.map((item, index) =>
    sendItem(send, `item_${responseId}_${index}`, index, item),
  );
  const usage = {
    input_tokens: 1000,
    input_tokens_details: { cached_tokens: 512 },
    output_tokens: 50,
    output_tokens_details: { reasoning_tokens: 16 },
    total_tokens: 1050,
  };
  send('response.completed', { response: { ...shared, status: 'completed', output, usage } });
  response.end();
}

async function bodyOf(request: http.IncomingMessage): Promise<{ input?: { type?: string }[] }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? {} : JSON.parse(text);
}

/** Starts the model. A step is given once all calls of the steps before it have an output. */
export async function startModel(steps: readonly (readonly Item[])[]): Promise<Model> {
  const callsBefore = [0];
  for (const step of steps) {
    const calls = step.filter((item) => item.type.endsWith('_call')).length;
    callsBefore.push((callsBefore.at(-1) ?? 0) + calls);
  }
  let requests = 0;
  const server = http.createServer(async (request, response) => {
    const body = await bodyOf(request);
    const { pathname } = new URL(request.url ?? '/', 'http://model');
    if (request.method === 'POST' && pathname.endsWith('/responses')) {
      const outputs = (body.input ?? []).filter((item) => item.type?.endsWith('_output')).length;
      const at = callsBefore.findLastIndex((calls) => calls <= outputs);
      stream(response, `resp_${++requests}`, steps[Math.min(at, steps.length - 1)] ?? []);
      return;
    }
    const models = request.method === 'GET' && pathname.endsWith('/models');
    response.writeHead(models ? 200 : 404, { 'content-type': 'application/json' });
    response.end(models ? '{"object":"list","data":[],"models":[]}' : '{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    get requests() {
      return requests;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
