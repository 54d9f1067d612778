/** What is loaded for whole sessions: once a request, within named limits. */
import {
  createChainVerifier,
  evidenceOf,
  type Integrity,
  type QueryLimits,
  type Row,
  seenOf,
  type TelltaleEvent,
  verifyChain,
} from '#schemas';
import { hasScope } from './access/viewer.ts';
import { deadLettersPlan, replaysPlan } from './account-plan.ts';
import {
  type Accounts,
  accountsFrom,
  accountsOf,
  parkedRangesOf,
  storedRangesOf,
} from './accounts.ts';
import { markWhole } from './content.ts';
import { isUuid } from './cursor.ts';
import { badInput, QueryError } from './errors.ts';
import { type SessionBounds, type SessionHead, type SessionRow, sessionHead } from './render.ts';
import { isRemoved, removalOf } from './retention.ts';
import { type Runner, SESSION_LIMITS } from './run.ts';
import { sessionPlan, sessionsPlan, streamsPlan } from './session-plan.ts';
import type { Analysis } from './timeline/analyse.ts';
import { type Assessment, assess } from './timeline/assess.ts';
import { present } from './timeline/merge.ts';
import { type DeadLetter, placeLetters, standing } from './timeline/parked.ts';
import { buildStory, type SessionData, type Story } from './timeline/story.ts';
import { sessionEventsPlan, streamEventsPlan } from './timeline-plan.ts';
import { withoutContent } from './withhold.ts';

/** The most events of a session that are analysed at once; the timeline itself has no such limit. */
export const SESSION_EVENTS_MAX = 100_000;
/** The most characters of strings in them. */
export const SESSION_CHARACTERS_MAX = 256 * 1024 ** 2;
/** A stream of two million events is read and verified in somewhat more than a minute. */
const INTEGRITY_LIMITS: QueryLimits = { ...SESSION_LIMITS, timeMs: 180_000 };
/** The most streams of one session that are told. */
export const STREAMS_MAX = 1000;

export interface StreamHead {
  readonly id: string;
  readonly session: string;
  readonly startedNs: string;
  readonly endedNs: string;
  readonly lastSeq: number;
}

export interface ParkedLetter extends DeadLetter {
  readonly origin: string;
  readonly parkedNs: string;
}

/** Reads of whole sessions, each done once. All reject with `QueryError` at a limit. */
export interface SessionLoads {
  head(id: string): Promise<SessionHead | undefined>;
  streams(id: string): Promise<readonly StreamHead[]>;
  accounts(id: string): Promise<Accounts>;
  integrity(id: string, stream: string): Promise<Integrity>;
  /** Those that stand first, each kind by when it was parked. */
  deadLetters(id: string): Promise<readonly ParkedLetter[]>;
  /** Letters that stand, by the id of the event that they stand beside. */
  parkedBeside(id: string): Promise<ReadonlyMap<string, readonly ParkedLetter[]>>;
  events(id: string): Promise<readonly TelltaleEvent[]>;
  analysis(id: string): Promise<Analysis>;
  /** All that is reconstructed of a session, with the account of its streams. */
  assessment(id: string): Promise<Assessment>;
  /** The story without verdicts on its streams: turns, calls, effects. */
  story(id: string): Promise<Story>;
  /** All that a story is made of, with the verdicts. */
  data(head: SessionHead): Promise<SessionData>;
  /** The same with the story of it, findings and all. */
  whole(head: SessionHead): Promise<Whole>;
}

/** A session with its verdicts, and what was made of both. */
export interface Whole {
  readonly data: SessionData;
  readonly assessment: Assessment;
  readonly story: Story;
}

function charactersOf(event: TelltaleEvent): number {
  let sum = 0;
  for (const value of Object.values(event))
    if (typeof value === 'string') sum += value.length;
    else if (Array.isArray(value)) for (const item of value) sum += String(item).length;
  return sum;
}

/** The events of a session, and for each stream what a verifier must see of its rows. */
interface Recorded {
  readonly events: readonly TelltaleEvent[];
  readonly evidence: ReadonlyMap<string, readonly TelltaleEvent[]>;
}

async function recordedOf(run: Runner, id: string, bounds?: SessionBounds): Promise<Recorded> {
  const events: TelltaleEvent[] = [];
  const evidence = new Map<string, TelltaleEvent[]>();
  let characters = 0;
  const plan = sessionEventsPlan(run.tenant, id, SESSION_EVENTS_MAX + 1, bounds);
  const whole = hasScope(run.viewer, 'content');
  for await (const rows of run.evidence<Row>(plan))
    for (const row of rows) {
      const { event: full, evidence: seen } = seenOf(row);
      const list = evidence.get(seen.stream_id);
      if (list === undefined) evidence.set(seen.stream_id, [seen]);
      else list.push(seen);
      if (full === undefined) continue;
      const event = whole ? full : withoutContent(full);
      events.push(event);
      markWhole(event);
      characters += charactersOf(event);
      if (events.length > SESSION_EVENTS_MAX || characters > SESSION_CHARACTERS_MAX)
        throw new QueryError(
          'SESSION_TOO_LARGE',
          `the session has more than ${SESSION_EVENTS_MAX} events or ${SESSION_CHARACTERS_MAX} characters: read its timeline in pages`,
        );
    }
  return { events, evidence };
}

async function integrityOf(run: Runner, session: string, stream: string): Promise<Integrity> {
  const { tenant } = run;
  const verifier = createChainVerifier({ tenant, session_id: session, stream_id: stream });
  const plan = streamEventsPlan(tenant, session, stream);
  for await (const rows of run.evidence<Row>(plan, INTEGRITY_LIMITS))
    for (const row of rows) verifier.add(evidenceOf(row));
  return verifier.result();
}

interface StreamRow extends Row {
  readonly stream: string;
  readonly started: string;
  readonly ended: string;
  readonly last_number: number;
}

async function streamsOf(run: Runner, session: string): Promise<readonly StreamHead[]> {
  const rows = await run.rows<StreamRow>(streamsPlan(run.tenant, session, STREAMS_MAX));
  return rows.map((row) => ({
    id: row.stream,
    session,
    startedNs: row.started,
    endedNs: row.ended,
    lastSeq: Number(row.last_number),
  }));
}

interface DeadRow extends Row {
  readonly id: string;
  readonly stream: string;
  readonly seq: number | null;
  readonly reason: string;
  readonly field: string;
  readonly detail: string;
  readonly origin: string;
  readonly parked_ms: string;
}

interface ReplayRow extends Row {
  readonly letter: string;
  readonly outcome: string;
  readonly replayed_ms: string;
}

async function deadLettersOf(run: Runner, session: string): Promise<readonly ParkedLetter[]> {
  const replays = await run.rows<ReplayRow>(replaysPlan(run.tenant, session));
  const replayed = new Map(replays.map((row) => [row.letter, row]));
  const read = (which: 'standing' | 'replayed') =>
    run.rows<DeadRow>(deadLettersPlan(run.tenant, session, [...replayed.keys()], which));
  const rows = [
    ...(await read('standing')),
    ...(replayed.size === 0 ? [] : await read('replayed')),
  ];
  // A letter that was parked again stands under another id.
  const told = rows.filter(({ id }) => replayed.get(id)?.outcome !== 'parked_again');
  return told.map((row) => ({
    id: row.id,
    streamId: row.stream,
    ...(row.seq === null ? {} : { seq: row.seq }),
    reason: row.reason,
    field: row.field,
    detail: row.detail,
    origin: row.origin,
    parkedNs: `${row.parked_ms}000000`,
    ...present({ replayedNs: nsOf(replayed.get(row.id)) }),
  }));
}

const nsOf = (row: ReplayRow | undefined) => row && `${row.replayed_ms}000000`;

function once<T>(load: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (key) => {
    let promise = known.get(key);
    if (promise === undefined) {
      promise = load(key);
      known.set(key, promise);
    }
    return promise;
  };
}

const BARE = { agent: '', host: '', user: '', streams: [], deadLetters: [] } as const;

/** The loads of one request. */
export function createLoads(run: Runner): SessionLoads {
  const recorded = once(async (id) => recordedOf(run, id, (await head(id))?.bounds));
  const events = async (id: string) => (await recorded(id)).events;
  const streams = once((id) => streamsOf(run, id));
  const accounts = once((id) => accountsOf(run, id));
  const deadLetters = once((id) => deadLettersOf(run, id));
  const parkedRanges = once((id) => parkedRangesOf(run, id));
  const integrity = once((key) => {
    const [id, stream] = key.split(' ') as [string, string];
    return integrityOf(run, id, stream);
  });
  const head = once(async (id) => {
    const [row] = await run.rows<SessionRow>(sessionPlan(run.tenant, id));
    return row === undefined ? undefined : sessionHead(row);
  });

  async function data(session: SessionHead): Promise<SessionData> {
    const { id, agent, host, user } = session;
    const [{ events: all, evidence }, parked, dead] = await Promise.all([
      recorded(id),
      parkedRanges(id),
      deadLetters(id),
    ]);
    // All rows are at hand: the same account as `accounts` gives, without asking the engine again.
    const accountOf = accountsFrom(evidence, parked);
    const missing = new Map(
      [...accountOf].map(([stream, { unaccounted }]) => [stream, unaccounted]),
    );
    const isShort = all.length === 0 || [...missing.values()].some((ranges) => ranges.length > 0);
    const removal = isShort ? await removalOf(run, id) : undefined;
    return {
      id,
      agent,
      host,
      user,
      ...(removal !== undefined && isRemoved(removal, missing) ? { removal } : {}),
      events: all,
      streams: [...accountOf].map(([streamId, completeness]) => ({
        streamId,
        completeness,
        integrity: verifyChain(
          { tenant: run.tenant, session_id: id, stream_id: streamId },
          evidence.get(streamId) ?? [],
        ),
      })),
      deadLetters: dead,
    };
  }

  const assessment = once(async (id) => {
    const [{ events: all, evidence }, parked] = await Promise.all([recorded(id), parkedRanges(id)]);
    const streams = accountsFrom(evidence, parked);
    return assess(
      all,
      [...streams].map(([streamId, completeness]) => ({ streamId, completeness })),
    );
  });

  const parkedBeside = once(async (id) => {
    const letters = standing(await deadLetters(id));
    if (letters.length === 0) return new Map<string, readonly ParkedLetter[]>();
    return placeLetters(letters, await storedRangesOf(run, id)).beside;
  });

  const wholes = new Map<string, Promise<Whole>>();
  function whole(session: SessionHead): Promise<Whole> {
    let promise = wholes.get(session.id);
    if (promise === undefined) {
      promise = Promise.all([data(session), assessment(session.id)]).then(([all, made]) => ({
        data: all,
        assessment: made,
        story: buildStory(all, made),
      }));
      wholes.set(session.id, promise);
    }
    return promise;
  }

  return {
    head,
    streams,
    accounts,
    integrity: (id, stream) => integrity(`${id} ${stream}`),
    deadLetters,
    parkedBeside,
    events,
    analysis: async (id) => (await assessment(id)).analysis,
    assessment,
    story: once(async (id) => {
      const [all, made] = await Promise.all([events(id), assessment(id)]);
      return buildStory({ ...BARE, id, events: all }, made);
    }),
    data,
    whole,
  };
}

/** The session that `id` names; `latest` is the one that began last. */
export async function findSession(
  run: Runner,
  id: string,
  loads: Pick<SessionLoads, 'head'> = createLoads(run),
): Promise<SessionHead | undefined> {
  if (id !== 'latest') {
    if (!isUuid(id)) throw badInput('id: give a session’s UUID in lower case, or "latest"');
    return loads.head(id);
  }
  const [row] = await run.rows<SessionRow>(sessionsPlan(run.tenant, 1));
  return row === undefined ? undefined : sessionHead(row);
}
