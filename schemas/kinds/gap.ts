import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const gap = defineKind({
  kind: 'gap',
  doc: 'Events that are missing, declared: numbers lost after numbering (first and last), or a count (perhaps unknown) lost before.',
  role: 'protocol',
  required: ['gap_reason'],
  optional: ['gap_first_seq', 'gap_last_seq', 'gap_count', 'sensor_name', 'reason', 'attrs'],
  summary: (e) =>
    `gap: ${words(e.gap_count) || 'unknown number of'} events lost, ${words(e.gap_reason)}`,
  samples: [
    {
      gap_reason: 'spool_full',
      gap_first_seq: 10,
      gap_last_seq: 19,
      gap_count: 10,
    },
    {
      gap_reason: 'sensor_lost',
      sensor_name: 'seccomp',
      reason: 'supervisor died',
    },
  ],
});
