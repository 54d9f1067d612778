/** Alerts for the tests of sinks. */
import { type Alert, makeAlert } from '#schemas';
import type { Sink } from '../../../ingest/detect/sink.ts';

export const SESSION = '0193a5e0-0000-7000-8000-000000000001';
const STREAM = '0193a5e0-0000-7000-8000-000000000002';

/** An alert whose first event is number `seq`. */
export function alertAt(seq: number, over: Partial<Omit<Alert, 'fingerprint'>> = {}): Alert {
  return makeAlert({
    tenant: 'acme',
    rule: {
      id: 'net-042',
      title: 'Secret read, then egress',
      level: 'critical',
      author: 'A. Author',
      license: 'DRL-1.1',
      tags: ['attack.t1552.001'],
    },
    session_id: SESSION,
    key: { session_id: SESSION },
    events: [
      { id: `${STREAM}-${seq}`, ts: '1764000000000000001' },
      { id: `${STREAM}-${seq + 3}`, ts: '1764000000000000009' },
    ],
    reason: '',
    ...over,
  });
}

/** A sink that keeps what it is told. */
export function recordingSink() {
  const [raised, withdrawn]: [Alert[], Alert[]] = [[], []];
  const sink: Sink = {
    name: 'test',
    raise: (alerts) => void raised.push(...alerts),
    withdraw: (alerts) => void withdrawn.push(...alerts),
    start: async () => {},
    stop: async () => {},
  };
  return { sink, raised, withdrawn };
}

export const link = (alert: Alert) => `http://127.0.0.1/s/${alert.session_id}`;
