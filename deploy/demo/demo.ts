/**
 * `npm run demo`: everything embedded, nothing faked but the model. It starts Telltale on a
 * temporary directory, records a small agent at work under the kernel sensor, asks the running
 * service for the session as any user would, and prints the story. What it prints on the way goes
 * to standard error; the story to standard output.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { SessionData } from '../../query/timeline/story.ts';
import { recordCommand } from '../commands/run.ts';
import { outputStyle, timelineFrom, writeOut } from '../commands/timeline.ts';
import { createUp, type Up } from '../commands/up.ts';
import { uuidv7 } from '../process/ids.ts';
import { serviceLog } from '../process/log.ts';
import { DEFAULT_TENANT } from '../settings.ts';
import { startAllowedHost, startModel } from './model.ts';

/** The engine runs one query a libuv thread; the default of 4 would make them wait. */
process.env.UV_THREADPOOL_SIZE ??= '16';

const PROMPT =
  'The test of add.mjs fails. Mend it, and report to the build server and the metrics.';
/** What the agent finds: it subtracts. */
const BROKEN = 'export const add = (a, b) => a - b;\n';
const DRAIN_MS = 20_000;
const EXIT_INTERRUPTED = 130;

const say = (text: string): void => void process.stderr.write(`demo: ${text}\n`);

/** What is to be undone, the last first; safe to run twice. */
function createUndo() {
  const steps: (() => unknown)[] = [];
  return {
    later: (step: () => unknown) => void steps.push(step),
    async run(): Promise<void> {
      for (let step = steps.pop(); step !== undefined; step = steps.pop())
        await Promise.resolve(step()).catch((error: Error) => say(`cleaning up: ${error.message}`));
    },
  };
}

/** Node's arguments for the demo's agent: plain JavaScript, or the source through tsx. */
function agentArguments(): string[] {
  const source = import.meta.filename.endsWith('.ts');
  const file = path.join(import.meta.dirname, source ? 'agent.ts' : 'agent.js');
  const loader = ['--conditions=telltale-source', '--import'];
  return source ? [...loader, import.meta.resolve('tsx'), file] : [file];
}

interface Scene {
  readonly up: Up;
  readonly workspace: string;
  readonly spool: string;
  readonly modelUrl: string;
  readonly allowed: string;
}

async function setUp(later: (step: () => unknown) => void): Promise<Scene> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-demo-'));
  later(() => fs.rmSync(root, { recursive: true, force: true }));
  const workspace = path.join(root, 'workspace');
  fs.mkdirSync(workspace);
  fs.writeFileSync(path.join(workspace, 'add.mjs'), BROKEN);
  const up = createUp({
    data: path.join(root, 'data'),
    port: 0,
    tenant: DEFAULT_TENANT,
    log: serviceLog('demo', 'warn'),
  });
  later(() => up.stop());
  await up.start();
  const allowedHost = await startAllowedHost();
  later(() => allowedHost.close());
  const model = await startModel(allowedHost.url);
  later(() => model.close());
  return {
    up,
    workspace,
    spool: path.join(root, 'spool'),
    modelUrl: model.url,
    allowed: new URL(allowedHost.url).hostname,
  };
}

async function recordAgent(scene: Scene, session: string): Promise<void> {
  const { workspace, modelUrl, allowed } = scene;
  const recorded = await recordCommand({
    command: {
      argv: [process.execPath, ...agentArguments(), modelUrl, allowed, PROMPT],
      env: process.env as Record<string, string>,
      cwd: workspace,
    },
    agent: 'genai',
    to: scene.up.url,
    tenant: DEFAULT_TENANT,
    session,
    spool: scene.spool,
    drainMs: DRAIN_MS,
    verbose: false,
  });
  if (recorded.exit.code !== 0)
    throw new Error(`the agent ended with ${recorded.exit.signal ?? recorded.exit.code}`);
  if (!recorded.shipped) throw new Error('not all that was recorded could be shipped');
  say(`${recorded.events} events recorded, shipped and acknowledged`);
}

/** Why this recording is not the whole story; empty where it is. */
export function shortcomings(data: SessionData): readonly string[] {
  const faults: string[] = [];
  if (data.streams.length === 0) faults.push('no stream was stored');
  for (const { streamId, completeness, integrity } of data.streams) {
    if (completeness?.verdict !== 'complete')
      faults.push(`stream ${streamId}: completeness is ${completeness?.verdict ?? 'not told'}`);
    if (integrity?.verdict !== 'intact')
      faults.push(`stream ${streamId}: integrity is ${integrity?.verdict ?? 'not told'}`);
  }
  if (data.deadLetters.length > 0) faults.push(`${data.deadLetters.length} events are parked`);
  return faults;
}

/** Runs the demo to its end; the exit code. `later` is told what to undo. */
async function demo(later: (step: () => unknown) => void): Promise<number> {
  say('starting Telltale: embedded store, ingest and query in one process');
  const scene = await setUp(later);
  say(`up at ${scene.up.url}; recording an agent in ${scene.workspace}`);
  const session = uuidv7();
  await recordAgent(scene, session);
  say('this is what the service tells of it:');
  process.stderr.write('\n');
  const { text, data } = await timelineFrom(scene.up.url, session, {
    ...outputStyle(),
    verbose: false,
    token: scene.up.token,
  });
  await writeOut(text);
  process.stderr.write('\n');
  const faults = shortcomings(data);
  for (const fault of faults) say(fault);
  if (faults.length > 0) return 1;
  say('nothing is missing and nothing was altered. Record your own: "npm start", and then');
  say('  npm run telltale -- run -- COMMAND     and     npm run telltale -- timeline latest');
  return 0;
}

const undo = createUndo();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    say('interrupted; cleaning up');
    void undo.run().finally(() => process.exit(EXIT_INTERRUPTED));
  });

const code = await demo(undo.later).catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  return 1;
});
await undo.run();
process.exit(code);
