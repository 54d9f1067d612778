import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const sessionOpen = defineKind({
  kind: 'session.open',
  doc: 'A stream begins: who records what, under which settings, with which key.',
  role: 'protocol',
  required: ['schema_version', 'command_args'],
  optional: ['cwd', 'public_key', 'settings', 'policy', 'policy_version', 'attrs'],
  summary: (e) => `recording ${words(e.command_args)}`,
  samples: [
    {
      schema_version: '1',
      command_args: ['codex', 'exec', 'fix the bug'],
      cwd: '/srv/app',
      public_key: 'MCowBQYDK2VwAyEA',
      settings: {
        'content.prompt': 'full',
      },
    },
    {
      schema_version: '1',
      command_args: ['sh'],
    },
  ],
});
