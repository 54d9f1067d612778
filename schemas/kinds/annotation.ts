import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const annotation = defineKind({
  kind: 'annotation',
  doc: 'An investigator’s pin, tag or note.',
  role: 'stored',
  required: ['actor'],
  optional: ['note', 'tag', 'refs', 'attrs'],
  summary: (e) => `${words(e.actor)}: ${words(e.tag)} ${words(e.note)}`,
  samples: [
    {
      actor: 'kim',
      note: 'first contact',
      tag: 'pivot',
      refs: ['a-1'],
    },
  ],
});
