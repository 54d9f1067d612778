import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const file = defineKind({
  kind: 'file',
  doc: 'A file was created, written, renamed, removed or had its mode changed; or a watched one was read.',
  role: 'effect',
  required: ['file_op', 'file_path'],
  optional: [
    'file_target_path',
    'file_mode',
    'file_bytes',
    'file_sha256',
    'outcome',
    'error',
    'attrs',
  ],
  summary: (e) =>
    `file ${words(e.file_op)} ${words(e.file_path)}${e.file_target_path === undefined ? '' : ` -> ${words(e.file_target_path)}`}`,
  samples: [
    {
      file_op: 'create',
      file_path: '/srv/app/a.txt',
      file_mode: '0644',
    },
    {
      file_op: 'rename',
      file_path: '/srv/app/a',
      file_target_path: '/srv/app/b',
      outcome: 'success',
    },
  ],
});
