import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const approval = defineKind({
  kind: 'approval',
  doc: 'A request for approval and the decision: who decided, for what scope, and what exactly was shown.',
  role: 'approval',
  required: ['decision'],
  optional: [
    'decided_by',
    'scope',
    'tool',
    'command',
    'justification',
    'shown_sha256',
    'policy',
    'policy_version',
    'duration_ns',
    'reason',
    'attrs',
  ],
  summary: (e) =>
    `${words(e.decision)} by ${words(e.decided_by)}: ${words(e.command) || words(e.tool)}`,
  samples: [
    {
      decision: 'approved',
      decided_by: 'user',
      scope: 'once',
      command: 'touch /etc/x',
      shown_sha256: '9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f',
      duration_ns: 2000000000,
    },
    {
      decision: 'denied',
      decided_by: 'config',
      tool: 'exec_command',
    },
  ],
});
