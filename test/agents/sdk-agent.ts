/**
 * An agent of nobody's, as its maker would write it: OpenTelemetry's own SDK, set up by the environment
 * alone, and `telltale/sdk` around its turn, its calls and a question. It knows nothing of who records.
 */
import { spawn } from 'node:child_process';
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { childEnv, recordApproval, recordToolCall, recordTurn } from '../../collector/sdk/index.ts';
import { ROUNDS_OF_CALLS } from './parallel.ts';

const provider = new BasicTracerProvider({
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
trace.setGlobalTracerProvider(provider);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const shell = (id: string, command: string) =>
  recordToolCall(
    { tool: 'shell', id, arguments: { command } },
    (call) =>
      new Promise<void>((resolve) => {
        const child = spawn('/bin/sh', ['-c', command], { env: childEnv(process.env) });
        child.once('close', (code) => {
          call.exitCode(code ?? -1);
          resolve();
        });
      }),
  );

await recordTurn({ prompt: 'Do it all at once', conversationId: 'sdk-1' }, async () => {
  await recordApproval(
    {
      tool: 'shell',
      toolCallId: 'call_no',
      command: 'rm -rf /',
      policy: 'ask',
      policyVersion: '7',
    },
    () => ({ decision: 'denied', decidedBy: 'user', scope: 'once', reason: 'no' }),
  );
  await recordToolCall(
    { tool: 'shell', id: 'call_no', arguments: { command: 'rm -rf /' } },
    (call) => call.denied('no'),
  );
  for (const round of ROUNDS_OF_CALLS)
    await Promise.all(round.map(({ mark, command }) => shell(`call_${mark}`, command)));
  await shell('call_exit3', 'exit 3');
});
await provider.shutdown();
