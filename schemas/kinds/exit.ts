import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const exit = defineKind({
  kind: 'exit',
  doc: 'A process ended.',
  role: 'process_end',
  required: [],
  optional: ['exit_code', 'exit_signal', 'duration_ns', 'attrs'],
  summary: (e) =>
    `exit ${e.exit_signal === undefined ? `code ${words(e.exit_code)}` : words(e.exit_signal)}`,
  samples: [
    {
      exit_code: 0,
      duration_ns: 1500000,
    },
    {
      exit_signal: 'SIGKILL',
    },
  ],
});
