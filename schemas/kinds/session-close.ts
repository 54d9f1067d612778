import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const sessionClose = defineKind({
  kind: 'session.close',
  doc: 'The stream ends: the final count and chain head. `chain_count` + 1 is the number of events.',
  role: 'protocol',
  required: ['chain_count', 'chain_head', 'close_reason'],
  optional: ['signature', 'exit_code', 'exit_signal', 'reason', 'attrs'],
  summary: (e) =>
    `closed: ${words(e.close_reason)}${e.exit_code === undefined ? '' : `, exit code ${words(e.exit_code)}`}`,
  samples: [
    {
      chain_count: 41,
      chain_head: '0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c',
      close_reason: 'exited',
      exit_code: 0,
      signature: 'c2ln',
    },
    {
      chain_count: 2,
      chain_head: '0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d',
      close_reason: 'signalled',
      exit_signal: 'SIGKILL',
    },
  ],
});
