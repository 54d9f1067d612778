import type { Draft } from '#schemas';
import type { StreamIdentity } from '../../collector/stamp.ts';

export const identity: StreamIdentity = {
  tenant: 'default',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-000000000002',
  agent: 'codex',
  host: 'sandbox-1',
  user: 'agent',
};

/** A file event with a given path; the smallest real draft. */
export const fileDraft = (file_path: string, more: object = {}): Draft =>
  ({
    kind: 'file',
    ts: '1764000000000000001',
    source: 'seccomp',
    assurance: 'observed',
    pid: 42,
    file_op: 'create',
    file_path,
    ...more,
  }) as Draft;
