import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const alert = defineKind({
  kind: 'alert',
  doc: 'A rule matched.',
  role: 'stored',
  required: ['alert_rule', 'severity'],
  optional: ['fingerprint', 'refs', 'reason', 'tag', 'attrs'],
  summary: (e) => `alert ${words(e.severity)} ${words(e.alert_rule)}`,
  samples: [
    {
      alert_rule: 'exfil-after-read',
      severity: 'high',
      fingerprint: 'f1',
      refs: ['a-1', 'a-2'],
    },
  ],
});
