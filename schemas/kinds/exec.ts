import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const exec = defineKind({
  kind: 'exec',
  doc: 'A process runs a program.',
  role: 'process_start',
  required: ['exe'],
  optional: ['argv', 'cwd', 'outcome', 'error', 'join_keys', 'attrs'],
  summary: (e) =>
    `exec ${words(e.argv) || words(e.exe)}${e.outcome === 'failure' ? ` failed ${words(e.error)}` : ''}`,
  samples: [
    {
      exe: '/usr/bin/bash',
      argv: ['bash', '-c', 'ls -la'],
      cwd: '/srv/app',
      outcome: 'success',
      join_keys: {
        CODEX_TOOL_CALL_ID: 'call_01',
      },
    },
    {
      exe: '/nope',
      argv: ['nope'],
      outcome: 'failure',
      error: 'ENOENT',
    },
  ],
});
