/**
 * The whole log against the store: each head that the log vouches for must be there. What was
 * removed, cut or written anew since is found and named; so is a log that contradicts itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CHECKPOINT_PATH,
  consistencyProof,
  openCheckpoint,
  TileError,
  type TileFetch,
  tileReader,
  verifyConsistency,
} from '#schemas';
import { auditLog, lastHeads, type Witnessed } from '../../ingest/seal/audit.ts';
import { checkTree, walkHeads } from '../../ingest/seal/walk.ts';
import type { Removal } from '../../query/retention.ts';
import { createFindings } from '../../schemas/evidence/findings.ts';
import { checkNote } from '../../schemas/evidence/log.ts';
import { isGood, type Report } from '../../schemas/evidence/report.ts';
import type { VerifyOptions } from '../../schemas/evidence/verify.ts';
import { readTreeHead, type TreeHead } from './tlog.ts';
import { seenSize } from './witnesses.ts';

export interface SessionResult {
  readonly tenant: string;
  readonly session_id: string;
  /** Streams that the log knows of it, and the highest number that it vouches for in each. */
  readonly vouched: Readonly<Record<string, number>>;
  /** Undefined where the store has no such session any more. */
  readonly report: Report | undefined;
  /** What the store says of a session that it has no more; undefined where it says nothing. */
  readonly removal?: Removal;
}

export interface FleetReport {
  /** What is wrong with the log itself; nothing is vouched for by a log that is at fault. */
  readonly logFaults: readonly string[];
  readonly size: number;
  readonly sessions: readonly SessionResult[];
}

interface Known {
  readonly tenant: string;
  readonly session_id: string;
  readonly vouched: Record<string, number>;
}

async function sessionsOf(size: number, fetch: TileFetch): Promise<Known[]> {
  const sessions = new Map<string, Known>();
  for (const { head } of await lastHeads(walkHeads(size, fetch))) {
    const { tenant, session_id, stream_id, seq } = head;
    const key = `${tenant}\n${session_id}`;
    let known = sessions.get(key);
    if (known === undefined) {
      known = { tenant, session_id, vouched: {} };
      sessions.set(key, known);
    }
    known.vouched[stream_id] = seq;
  }
  return [...sessions.values()];
}

type Root = NonNullable<VerifyOptions['known']>;

/** What is wrong where the log does not go on from a head that was seen before. */
async function followFault(known: Root, now: Root, fetch: TileFetch): Promise<string | undefined> {
  if (known.size > now.size) return `it had ${known.size} heads before, and has ${now.size} now`;
  const what = `it does not go on from the ${known.size} heads that it had before`;
  try {
    const proof = await consistencyProof(known.size, now.size, tileReader(now.size, fetch));
    const follows = verifyConsistency(known.size, now.size, proof, known.root, now.root);
    return follows ? undefined : what;
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    return `${what}: ${error.message}`;
  }
}

/** A witness cosigns a head before the log shows it; this is how long the log may take to. */
const CATCH_UP_MS = 10_000;
const LOOK_AGAIN_MS = 250;

/** The log's head, once it is as far as the witnesses are, or when it had the time to be. */
async function headAfter(size: number, fetch: TileFetch): Promise<TreeHead | undefined> {
  for (let waitedMs = 0; ; waitedMs += LOOK_AGAIN_MS) {
    const head = await readTreeHead(fetch);
    if (head === undefined || head.size >= size || waitedMs >= CATCH_UP_MS) return head;
    await sleep(LOOK_AGAIN_MS);
  }
}

type Keys = Pick<VerifyOptions, 'logKeys' | 'witnesses'>;

/** What is wrong with the note that the log shows, by the keys of those who were not asked. */
function noteFaults(head: TreeHead, trust: Keys, asked: readonly Witnessed[]): string[] {
  const findings = createFindings();
  const byAsked = new Set(asked.map(({ key }) => key.text));
  const witnesses = (trust.witnesses ?? []).filter(({ text }) => !byAsked.has(text));
  const { origin, size } = head;
  const keys = { logKeys: trust.logKeys ?? [], witnesses };
  checkNote(Buffer.from(head.note), { origin, size }, keys, findings);
  return [...findings.faults, ...findings.stretches].map(({ what }) => what);
}

/** What the tree is not; where witnesses were asked, what it is not to them. */
async function treeFaults(
  head: TreeHead,
  trust: Keys,
  asked: readonly Witnessed[],
  fetch: TileFetch,
): Promise<string[]> {
  const { origin, size } = head;
  // While a log's key is changed two are known, and an old or a new head has one of them alone.
  const own = trust.logKeys?.filter(({ name }) => name === origin) ?? [];
  const logKey = own.find((key) => openCheckpoint(head.note, key).ok) ?? own[0];
  if (asked.length === 0 || logKey === undefined) {
    const fault = await checkTree({ origin, size, root: Buffer.from(head.root) }, fetch);
    return fault === undefined ? [] : [`${fault.where} ${fault.what}`];
  }
  // The log goes on meanwhile: it is held to the head that all else here is about.
  const still: TileFetch = async (path) =>
    path === CHECKPOINT_PATH ? Buffer.from(head.note) : fetch(path);
  const { faults } = await auditLog(still, logKey, asked);
  return faults.map(({ where, what }) => `${where}: ${what}`);
}

/**
 * Walks the log and verifies each session in it; `verify` gives the report of one, or undefined where
 * there is none. Memory grows with the number of sessions. The log's faults come first: its signature,
 * its tree, what it was before, and what its witnesses saw of it; `ask` gives the notes of those that
 * are asked by themselves. No session is verified by a log whose tree is at fault.
 */
export async function checkFleet(
  fetch: TileFetch,
  trust: VerifyOptions,
  verify: (session: Known) => Promise<Report | Removal | undefined>,
  ask: (origin: string) => Promise<readonly Witnessed[]> = async () => [],
): Promise<FleetReport> {
  const first = await readTreeHead(fetch);
  const asked = first === undefined ? [] : await ask(first.origin);
  const head = first && (await headAfter(seenSize(asked), fetch));
  if (head === undefined)
    return { logFaults: ['there is no transparency log'], size: 0, sessions: [] };
  const { size } = head;
  const logFaults = noteFaults(head, trust, asked);
  const grown = trust.known && (await followFault(trust.known, head, fetch));
  if (grown !== undefined) logFaults.push(grown);
  const spoilt = await treeFaults(head, trust, asked, fetch);
  logFaults.push(...spoilt);
  if (spoilt.length > 0) return { logFaults, size, sessions: [] };
  const sessions: SessionResult[] = [];
  for (const known of await sessionsOf(size, fetch)) {
    const found = await verify(known);
    const removed = found !== undefined && 'policy' in found;
    sessions.push({
      ...known,
      report: removed ? undefined : found,
      ...(removed ? { removal: found } : {}),
    });
  }
  return { logFaults, size, sessions };
}

/**
 * Whether a session is gone by a policy that said so: its tombstone names each stream that the log
 * vouches for, up to the last number there. It is the store's word, which the journal repeats; the log
 * still proves that there was such a session, and until where.
 */
export const isRemovedByPolicy = ({ vouched, removal }: SessionResult): boolean =>
  removal !== undefined &&
  Object.entries(vouched).every(([id, seq]) =>
    removal.streams.some(({ stream_id, last_seq }) => stream_id === id && last_seq >= seq),
  );

/** Whether nothing is wrong with the log nor with any session in it. */
export const isFleetGood = ({ logFaults, sessions }: FleetReport): boolean =>
  logFaults.length === 0 &&
  sessions.every((one) => (one.report === undefined ? isRemovedByPolicy(one) : isGood(one.report)));
