/** A small MCP server over standard input and output, with one tool. */
import readline from 'node:readline';

const TOOL = {
  name: 'lookup',
  description: 'Looks up a key',
  inputSchema: { type: 'object', properties: { key: { type: 'string' } }, required: ['key'] },
};

const ANSWERS = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: 'lab', version: '1.0.0' },
  }),
  'tools/list': () => ({ tools: [TOOL] }),
  'tools/call': ({ arguments: args }) => ({
    content: [{ type: 'text', text: `value of ${args?.key}` }],
  }),
  ping: () => ({}),
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const answer = ANSWERS[method];
  const body =
    answer === undefined
      ? { error: { code: -32601, message: `no method ${method}` } }
      : { result: answer(params ?? {}) };
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, ...body })}\n`);
});
