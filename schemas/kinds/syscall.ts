import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const syscall = defineKind({
  kind: 'syscall',
  doc: 'A process made a system call that reaches into another process, the kernel or its own confinement: ptrace, mount, setns, bpf and the like.',
  role: 'effect',
  required: ['syscall'],
  optional: ['file_path', 'file_target_path', 'outcome', 'error', 'attrs'],
  summary: (e) =>
    `syscall ${words(e.syscall)}${e.file_path === undefined ? '' : ` ${words(e.file_path)}`}${e.outcome === 'failure' ? ` failed ${words(e.error)}` : ''}`,
  samples: [
    {
      syscall: 'ptrace',
      attrs: { request: 'PTRACE_ATTACH', target_pid: '4242' },
    },
    {
      syscall: 'mount',
      file_path: 'tmpfs',
      file_target_path: '/mnt',
      outcome: 'failure',
      error: 'EPERM',
    },
  ],
});
