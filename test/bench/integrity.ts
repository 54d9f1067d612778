/**
 * What integrity costs: stamping with salts, commitments, chain and checkpoints beside the same
 * stamping without them, and verifying a stream from its rows. CPU time of this process, so that
 * other work on the machine counts little; the best of several rounds.
 *
 *     npm run bench:integrity            events in micro-seconds each, and the shares
 */
import {
  ALL_FIELDS,
  canonical,
  createChainVerifier,
  type Draft,
  digestOf,
  evidenceOf,
  fromRow,
  type Random,
  type Row,
  type TelltaleEvent,
  validate,
  validateStored,
} from '#schemas';
import { fitDraft } from '../../collector/fit.ts';
import { createStamper } from '../../collector/stamp.ts';
import { systemRandom } from '../../deploy/process/clock.ts';
import { fakeClock } from '../fakes/ports.ts';
import { dice, madeDrafts } from './workload.ts';

const EVENTS = 40_000;
const ROUNDS = 5;
/** As a session has them: one after so many events. */
const CHECKPOINT_EVENTS = 1000;
const IDENTITY = {
  tenant: 'acme',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-0000000000aa',
  agent: 'codex',
  host: 'sandbox-1',
  user: 'agent',
};

/** The least CPU time that `work` took in one round, in micro-seconds an event. */
function cost(work: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / EVENTS);
  }
  return least;
}

function drafts(): Draft[] {
  const clock = fakeClock();
  const endless = madeDrafts(dice(7), () => clock.wallNs().toString());
  return Array.from({ length: EVENTS }, () => endless.next().value as Draft);
}

/** Everything that stamping does but salts, commitments, chain and keys; events are kept, as by `stamp`. */
function stampBare(all: readonly Draft[]): TelltaleEvent[] {
  const clock = fakeClock();
  const { tenant, session_id, stream_id, ...others } = IDENTITY;
  const given = Object.entries(others);
  return all.map((draft, seq) => {
    const observed_ts = clock.wallNs().toString();
    // Made as the stamper makes it: fields that are added after a spread cost a micro-second each.
    const event: Record<string, unknown> = { tenant, session_id, stream_id, seq, observed_ts };
    for (const [name, value] of given) event[name] = value;
    const fitted = fitDraft(draft) as unknown as Record<string, unknown>;
    for (const name in fitted) event[name] = fitted[name];
    // It finds the salt missing, but only after it has checked everything else.
    validate(event);
    Buffer.from(canonical(event as unknown as TelltaleEvent), 'utf8');
    return event as unknown as TelltaleEvent;
  });
}

const own = { source: 'collector', assurance: 'verified' } as const;

function stamp(all: readonly Draft[], random: Random = systemRandom): TelltaleEvent[] {
  const clock = fakeClock();
  const ts = () => clock.wallNs().toString();
  const stamper = createStamper(IDENTITY, clock, random);
  const { publicKey: public_key } = stamper;
  const open = { kind: 'session.open', schema_version: '2', command_args: ['codex'], public_key };
  const events = [stamper.stamp({ ...own, ts: ts(), ...open } as Draft).event];
  for (const draft of all) {
    events.push(stamper.stamp(draft).event);
    if (events.length % CHECKPOINT_EVENTS === 0)
      events.push(stamper.stamp({ ...own, ts: ts(), kind: 'session.heartbeat' } as Draft).event);
  }
  const close = { kind: 'session.close', ts: ts(), close_reason: 'exited' };
  events.push(stamper.stamp({ ...own, ...close } as Draft).event);
  return events;
}

const EMPTY: Readonly<Record<string, unknown>> = { list: [], map: {} };

/** The row that the engine would give for an event, parsed. */
function rowOfEvent(event: TelltaleEvent): Row {
  const values = event as unknown as Readonly<Record<string, unknown>>;
  const row = Object.entries(ALL_FIELDS).map(([name, { column, shape }]) => {
    const absent = column.absent === 'null' ? null : (EMPTY[shape] ?? (shape === 'uint' ? 0 : ''));
    const value = values[name] ?? absent;
    const wide = /64/.test(column.type) && typeof value === 'number';
    return [shape === 'time' ? `${name}_ns` : name, wide ? String(value) : value];
  });
  return JSON.parse(JSON.stringify(Object.fromEntries(row)));
}

function verify(events: Iterable<TelltaleEvent>): void {
  const verifier = createChainVerifier(IDENTITY);
  for (const event of events) verifier.add(event);
  const { verdict, sealed } = verifier.result();
  if (verdict !== 'intact' || !sealed) throw new Error(`the stream is ${verdict}`);
}

function* evidence(rows: readonly Row[]): Generator<TelltaleEvent> {
  for (const row of rows) yield evidenceOf(row);
}

const all = drafts();
const events = stamp(all);
const rows = events.map(rowOfEvent);
for (const event of events)
  if (!validateStored(event).ok) throw new Error(`${event.kind} ${event.seq} is not valid`);

const bare = cost(() => void stampBare(all));
const whole = cost(() => void stamp(all));
const figures = {
  'stamp, all of it': whole,
  'stamp without integrity': bare,
  'of that integrity': whole - bare,
  'digest of an event': cost(() => events.forEach((event) => void digestOf(event))),
  'event of a row': cost(() => rows.forEach((row) => void fromRow(row))),
  'verify from events': cost(() => verify(events)),
  'verify from rows': cost(() => verify(evidence(rows))),
};
for (const [name, us] of Object.entries(figures))
  process.stdout.write(`${name.padEnd(26)} ${us.toFixed(2).padStart(7)} us/event\n`);
const content = events.filter((event) => event.content_salt !== undefined).length;
process.stdout.write(`${events.length} events, ${content} of them with content\n`);
