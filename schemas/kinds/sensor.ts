import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const sensor = defineKind({
  kind: 'sensor',
  doc: 'Which sensor or channel covers what from now on, on which rung, and why not better.',
  role: 'protocol',
  required: ['sensor_name', 'coverage'],
  optional: ['sensor_rung', 'reason', 'attrs'],
  summary: (e) =>
    `sensor ${words(e.sensor_name)}: coverage ${words(e.coverage)}${e.reason === undefined ? '' : ` (${words(e.reason)})`}`,
  samples: [
    {
      sensor_name: 'seccomp',
      sensor_rung: 1,
      coverage: 'complete',
    },
    {
      sensor_name: 'otlp',
      coverage: 'none',
      reason: 'no exporter',
    },
  ],
});
