/** A scripted model that speaks Anthropic's Messages API, streaming or not. */
import type http from 'node:http';
import {
  type Answer,
  type Loose,
  type Model,
  type Part,
  type Script,
  sendJson,
  startScripted,
} from './server.ts';

const listOf = (value: unknown): readonly Loose[] => (Array.isArray(value) ? value : []);

const blockOf = (part: Part): Loose =>
  part.type === 'call'
    ? { type: 'tool_use', id: part.id, name: part.name, input: part.input }
    : part.type === 'thinking'
      ? { type: 'thinking', thinking: part.text, signature: 'c2NyaXB0ZWQ=' }
      : { type: 'text', text: part.text };

const USAGE = {
  input_tokens: 100,
  cache_creation_input_tokens: 20,
  cache_read_input_tokens: 3000,
  output_tokens: 42,
};

/** The empty block that a stream begins a block with, and the pieces that fill it. */
function piecesOf(part: Part): readonly [start: Loose, deltas: readonly Loose[]] {
  if (part.type === 'call')
    return [
      { type: 'tool_use', id: part.id, name: part.name, input: {} },
      [{ type: 'input_json_delta', partial_json: JSON.stringify(part.input) }],
    ];
  if (part.type === 'thinking')
    return [
      { type: 'thinking', thinking: '', signature: '' },
      [
        { type: 'thinking_delta', thinking: part.text },
        { type: 'signature_delta', signature: 'c2NyaXB0ZWQ=' },
      ],
    ];
  return [{ type: 'text', text: '' }, [{ type: 'text_delta', text: part.text }]];
}

function stream(response: http.ServerResponse, base: Loose, parts: readonly Part[], stop: string) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': `req_${base.id}` });
  const send = (type: string, fields: Loose) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  send('message_start', {
    message: { ...base, content: [], usage: { ...USAGE, output_tokens: 1 } },
  });
  parts.forEach((part, index) => {
    const [block, deltas] = piecesOf(part);
    send('content_block_start', { index, content_block: block });
    for (const delta of deltas) send('content_block_delta', { index, delta });
    send('content_block_stop', { index });
  });
  send('message_delta', { delta: { stop_reason: stop, stop_sequence: null }, usage: USAGE });
  send('message_stop', {});
  response.end();
}

function reply(response: http.ServerResponse, body: Loose, id: string, answer: Answer): void {
  if ('status' in answer) {
    const type = answer.status === 529 ? 'overloaded_error' : 'invalid_request_error';
    const error = { type, message: 'scripted failure' };
    sendJson(response, answer.status, { type: 'error', error });
    return;
  }
  const stop = answer.some((part) => part.type === 'call') ? 'tool_use' : 'end_turn';
  const base = {
    id,
    type: 'message',
    role: 'assistant',
    model: body.model,
    stop_reason: null,
    stop_sequence: null,
  };
  if (body.stream === true) stream(response, base, answer, stop);
  else
    sendJson(response, 200, {
      ...base,
      stop_reason: stop,
      content: answer.map(blockOf),
      usage: USAGE,
    });
}

/** Starts the model. The script is asked with each request that offers tools. */
export const startMessages = (script: Script): Promise<Model> =>
  startScripted((body, path, response, count) => {
    if (path.endsWith('/count_tokens')) return sendJson(response, 200, { input_tokens: 1000 });
    if (!path.endsWith('/v1/messages')) return sendJson(response, 404, { type: 'error' });
    const messages = listOf(body.messages);
    const results = messages.flatMap((message) =>
      listOf(message.content).filter((block) => block.type === 'tool_result'),
    ).length;
    const tools = listOf(body.tools).map((tool) => String(tool.name));
    const asked = { results, text: JSON.stringify(messages), tools };
    const side = [{ type: 'text', text: '{"title":"Scripted"}' }] as const;
    reply(response, body, `msg_${count()}`, tools.length === 0 ? side : script(asked));
  });
