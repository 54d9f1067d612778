import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const toolResult = defineKind({
  kind: 'tool.result',
  doc: 'How a tool call ended, in the words of one channel.',
  role: 'result',
  required: [],
  optional: [
    'tool',
    'outcome',
    'exit_code',
    'duration_ns',
    'output',
    'output_bytes',
    'error',
    'changes',
    'truncated',
    'attrs',
  ],
  summary: (e) =>
    `result ${words(e.tool)}: ${words(e.outcome)}${e.exit_code === undefined ? '' : `, exit code ${words(e.exit_code)}`}`,
  samples: [
    {
      tool: 'exec_command',
      outcome: 'failure',
      exit_code: 3,
      duration_ns: 88000000,
      output: 'out-line\nerr-line\n',
      output_bytes: 18,
    },
    {
      tool: 'apply_patch',
      outcome: 'success',
      changes: ['add notes/todo.md', 'delete old.txt'],
    },
  ],
});
