/** Events by hand for the timeline's tests: short to write, and valid by the registry. */
import { type TelltaleEvent, validate } from '#schemas';
import type { SessionData } from '../../../query/timeline/story.ts';
import { salted } from '../../schemas/arbitraries.ts';

export const SESSION = '019abcde-0000-7000-8000-000000000001';
export const STREAM = '019abcde-0000-7000-8000-0000000000aa';
export const START_NS = 1_764_000_000_000_000_000n;

/** Milliseconds from the start of the session, as events tell time. */
export const at = (ms: number): string => String(START_NS + BigInt(Math.round(ms * 1e6)));

export type Loose = Readonly<Record<string, unknown>> & { readonly kind: string };

/** Makes events with numbers in the order in which they are asked for; many are not checked. */
export function createEvents(stream = STREAM, check = true) {
  let seq = 0;
  const make = (ms: number, source: string, fields: Loose): TelltaleEvent => {
    const kernel = source === 'seccomp';
    const event = salted({
      tenant: 'default',
      session_id: SESSION,
      stream_id: stream,
      seq: seq++,
      ts: at(ms),
      observed_ts: at(ms),
      source,
      assurance: kernel ? 'verified' : source === 'collector' ? 'verified' : 'reported',
      agent: 'demo-agent',
      host: 'box',
      user: 'kim',
      ...fields,
    });
    if (!check) return event as unknown as TelltaleEvent;
    const checked = validate(event);
    if (!checked.ok) throw new Error(`${fields.kind}: ${JSON.stringify(checked)}`);
    return checked.event;
  };
  const say = (ms: number, fields: Loose) => make(ms, 'otlp', fields);
  const see = (ms: number, fields: Loose) => make(ms, 'seccomp', fields);
  const run = (ms: number, pid: number, ppid: number, argv: string[], more: object = {}) =>
    see(ms, {
      kind: 'exec',
      pid,
      ppid,
      exe: argv[0]?.startsWith('/') ? argv[0] : `/usr/bin/${argv[0]}`,
      argv,
      ...more,
    });
  const end = (ms: number, pid: number, code: number, more: object = {}) =>
    see(ms, { kind: 'exit', pid, exit_code: code, ...more });
  return { make, say, see, run, end };
}

/** A session of `events` whose one stream is complete, unless `more` says otherwise. */
export function sessionOf(
  events: readonly TelltaleEvent[],
  more: Partial<SessionData> = {},
): SessionData {
  return {
    id: SESSION,
    agent: 'demo-agent',
    host: 'box',
    user: 'kim',
    events,
    streams: [
      {
        streamId: STREAM,
        completeness: {
          verdict: 'complete',
          produced: events.length,
          stored: events.length,
          parked: 0,
          declaredMissing: 0,
          unnumberedLost: 0,
          unknownLoss: false,
          unaccounted: [],
          closed: true,
        },
        integrity: {
          verdict: 'intact',
          events: events.length,
          checkpoints: 2,
          covered: events.length,
          sealed: true,
          erased: 0,
          unproved: [],
          faults: [],
          faultCount: 0,
        },
      },
    ],
    deadLetters: [],
    ...more,
  };
}

/** A call and its result as one channel tells them. */
export function callOf(
  { say }: ReturnType<typeof createEvents>,
  id: string,
  fromMs: number,
  toMs: number,
  call: object,
  result: object = { outcome: 'success' },
): TelltaleEvent[] {
  return [
    say(fromMs, { kind: 'tool.call', tool_call_id: id, ...call }),
    say(toMs, { kind: 'tool.result', tool_call_id: id, ...result }),
  ];
}
