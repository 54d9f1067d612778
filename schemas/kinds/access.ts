import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const access = defineKind({
  kind: 'access',
  doc: 'Somebody read, queried or exported.',
  role: 'stored',
  required: ['actor', 'operation'],
  optional: ['outcome', 'reason', 'attrs'],
  summary: (e) => `${words(e.actor)} ${words(e.operation)}`,
  samples: [
    {
      actor: 'kim',
      operation: 'timeline',
      outcome: 'success',
    },
  ],
});
