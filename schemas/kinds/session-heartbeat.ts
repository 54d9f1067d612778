import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const sessionHeartbeat = defineKind({
  kind: 'session.heartbeat',
  doc: 'The stream is alive; a signed checkpoint over all events before this one.',
  role: 'protocol',
  required: ['chain_count', 'chain_head'],
  optional: ['next_public_key', 'signature', 'attrs'],
  summary: (e) => `checkpoint over ${words(e.chain_count)} events`,
  samples: [
    {
      chain_count: 1000,
      chain_head: 'abababababababababababababababababababababababababababababababab',
      next_public_key: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
      signature: 'c2ln',
    },
    {
      chain_count: 0,
      chain_head: '0000000000000000000000000000000000000000000000000000000000000000',
    },
  ],
});
