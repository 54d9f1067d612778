/** Whole streams as the collector stamps them, for the tests of chain, account and verifier. */
import type { Draft, TelltaleEvent } from '#schemas';
import { createStamper, type StreamIdentity } from '../../collector/stamp.ts';
import { fakeClock, fakeRandom } from '../fakes/ports.ts';

export const identity: StreamIdentity = {
  tenant: 'acme',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-0000000000aa',
  agent: 'demo',
  host: 'box',
  user: 'dev',
};
export const other: StreamIdentity = {
  ...identity,
  stream_id: '0193a5e0-0000-7000-8000-0000000000bb',
};

/** open, 4 events, heartbeat, 4 events, heartbeat, 2 events, close: where its checkpoints stand. */
export const HEARTBEAT_SEQS = [5, 10] as const;
export const CLOSE_SEQ = 13;
const LENGTHS = [4, 4, 2];

/** What stands between checkpoints: with content and without. */
function draftAt(n: number): Record<string, unknown> {
  const path = { kind: 'file', file_path: `/w/${n}`, file_op: 'write' };
  if (n % 2 === 0) return path;
  return { kind: 'exec', exe: '/bin/sh', argv: ['sh', '-c', `echo ${n}`], attrs: { n: String(n) } };
}

/** A stream of `LENGTHS` as the collector stamps it; `seed` decides its keys and salts. */
export function recordedStream(id: StreamIdentity = identity, seed = 'one'): TelltaleEvent[] {
  const clock = fakeClock();
  const stamper = createStamper(id, clock, fakeRandom(seed));
  const events: TelltaleEvent[] = [];
  const add = (draft: Record<string, unknown>) => {
    const ts = clock.wallNs().toString();
    const whole = { ts, source: 'test', assurance: 'verified', ...draft } as unknown as Draft;
    events.push(stamper.stamp(whole).event);
  };
  add({
    kind: 'session.open',
    public_key: stamper.publicKey,
    schema_version: '2',
    command_args: ['true'],
  });
  for (const [index, length] of LENGTHS.entries()) {
    for (let n = 0; n < length; n++) add(draftAt(events.length));
    if (index < LENGTHS.length - 1) add({ kind: 'session.heartbeat' });
  }
  add({ kind: 'session.close', close_reason: 'exited', exit_code: 0, reason: 'done' });
  return events;
}
