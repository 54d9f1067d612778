/** A scripted model that speaks OpenAI's Chat Completions API, streaming or not. */
import { type Loose, type Model, type Script, sendJson, startScripted } from './server.ts';

const listOf = (value: unknown): readonly Loose[] => (Array.isArray(value) ? value : []);

const usage = {
  prompt_tokens: 700,
  completion_tokens: 33,
  total_tokens: 733,
  prompt_tokens_details: { cached_tokens: 128 },
  completion_tokens_details: { reasoning_tokens: 7 },
};

/** Starts the model. The script is asked with each request. */
export const startCompletions = (script: Script): Promise<Model> =>
  startScripted((body, _path, response, count) => {
    const messages = listOf(body.messages);
    const results = messages.filter((message) => message.role === 'tool').length;
    const tools = listOf(body.tools).map((tool) => String((tool.function as Loose)?.name));
    const id = `chat_${count()}`;
    const answer = script({ results, text: JSON.stringify(messages), tools });
    if ('status' in answer)
      return sendJson(response, answer.status, { error: { message: 'scripted failure' } });
    const calls = answer.flatMap((part) => (part.type === 'call' ? [part] : []));
    const finish = calls.length > 0 ? 'tool_calls' : 'stop';
    const base = { id, created: Math.floor(Date.now() / 1000), model: body.model };
    if (body.stream !== true) {
      const content = answer.map((part) => (part.type === 'text' ? part.text : '')).join('');
      const message = { role: 'assistant', content };
      const choices = [{ index: 0, message, finish_reason: finish }];
      return sendJson(response, 200, { ...base, object: 'chat.completion', choices, usage });
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const write = (fields: Loose) => {
      const data = JSON.stringify({ ...base, object: 'chat.completion.chunk', ...fields });
      response.write(`data: ${data}\n\n`);
    };
    const delta = (fields: Loose, reason: string | null = null) =>
      write({ choices: [{ index: 0, delta: fields, finish_reason: reason }] });
    delta({ role: 'assistant', content: '' });
    for (const part of answer) {
      if (part.type === 'thinking') delta({ reasoning_content: part.text });
      if (part.type === 'text') delta({ content: part.text });
    }
    calls.forEach((call, index) => {
      const called = { name: call.name, arguments: JSON.stringify(call.input) };
      delta({ tool_calls: [{ index, id: call.id, type: 'function', function: called }] });
    });
    delta({}, finish);
    write({ choices: [], usage });
    response.end('data: [DONE]\n\n');
  });
