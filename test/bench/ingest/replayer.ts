/**
 * A load generator for throughput, as a process of its own: frames that the collector's code made
 * are sent over and over by the collector's transport, each time under other ids, so that they are
 * other streams. (Checkpoints then name ids that their signatures are not about: ingest does not
 * look at those.) It goes as fast as it may, but never runs further ahead of the table than it is
 * allowed to.
 */
import { openTransport } from '../../../collector/ship.ts';
import { serviceLog } from '../../../deploy/process/log.ts';
import { framesOf, madeSession } from '../workload.ts';

export interface ReplayOptions {
  readonly brokers: readonly string[];
  readonly sessions: number;
  readonly eventsEach: number;
  /** Events that may be sent and not stored yet. */
  readonly aheadMax: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as ReplayOptions;
const log = serviceLog('replayer', 'warn');
/** Sends at the same time: more than there are partitions. */
const SENDERS = 8;
const WAIT_MS = 5;

let stored = 0;
let sent = 0;
let stopping = false;
process.on('message', (message: { stored?: number }) => {
  if (message.stored === undefined) stopping = true;
  else stored = message.stored;
});

interface Template {
  readonly frame: Buffer;
  readonly events: number;
  /** Where four digits of its session's and stream's id stand. */
  readonly places: readonly number[];
  readonly sessionId: string;
}

const ROUND_AT = 9;
const digitsOf = (round: number) => round.toString(16).padStart(4, '0');

function placesOf(frame: Buffer, ids: readonly string[]): number[] {
  const places: number[] = [];
  for (const id of ids)
    for (let at = frame.indexOf(id); at >= 0; at = frame.indexOf(id, at + 1))
      places.push(at + ROUND_AT);
  return places;
}

async function templates(): Promise<readonly (readonly Template[])[]> {
  const made: (readonly Template[])[] = [];
  for (let n = 0; n < options.sessions; n++) {
    const session = await madeSession(0, n, options.eventsEach);
    const { session_id, stream_id } = session.identity;
    made.push(
      framesOf([session]).map((frame) => ({
        frame,
        events: JSON.parse(frame.toString('utf8', 0, frame.indexOf(0x0a))).count,
        places: placesOf(frame, [session_id, stream_id]),
        sessionId: session_id,
      })),
    );
  }
  return made;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const sessions = await templates();
const transport = openTransport(`kafka://${options.brokers.join(',')}`, log);
await transport.connect();
process.send?.({ ready: true });

/** One sender has its own sessions, sends their frames in order, and begins again as others. */
async function sender(own: readonly (readonly Template[])[]): Promise<void> {
  const never = new AbortController().signal;
  const longest = Math.max(...own.map((frames) => frames.length));
  for (let round = 1; !stopping; round++)
    for (let i = 0; i < longest; i++)
      for (const frames of own) {
        const template = frames[i];
        if (template === undefined) continue;
        while (sent - stored > options.aheadMax && !stopping) await sleep(WAIT_MS);
        if (stopping) return;
        const digits = digitsOf(round);
        for (const place of template.places) template.frame.write(digits, place, 'latin1');
        const { sessionId } = template;
        const id = sessionId.slice(0, ROUND_AT) + digits + sessionId.slice(ROUND_AT + 4);
        sent += template.events;
        await transport.send(id, Buffer.from(template.frame), never);
      }
}

const shares = Array.from({ length: SENDERS }, (_, share) =>
  sessions.filter((__, n) => n % SENDERS === share),
).filter((own) => own.length > 0);
await Promise.all(shares.map(sender));
process.send?.({ sent });
await transport.close();
process.exit(0);
