/**
 * The whole log against the store: each head that the log vouches for must be there. What was
 * removed, cut or written anew since is found and named; so is a log that contradicts itself.
 */
import {
  consistencyProof,
  TileError,
  type TileFetch,
  tileReader,
  verifyConsistency,
} from '#schemas';
import { lastHeads } from '../../ingest/seal/audit.ts';
import { checkTree, walkHeads } from '../../ingest/seal/walk.ts';
import { createFindings } from '../../schemas/evidence/findings.ts';
import { checkNote } from '../../schemas/evidence/log.ts';
import { isGood, type Report } from '../../schemas/evidence/report.ts';
import type { VerifyOptions } from '../../schemas/evidence/verify.ts';
import { readTreeHead } from './tlog.ts';

export interface SessionResult {
  readonly tenant: string;
  readonly session_id: string;
  /** Streams that the log knows of it, and the highest number that it vouches for in each. */
  readonly vouched: Readonly<Record<string, number>>;
  /** Undefined where the store has no such session any more. */
  readonly report: Report | undefined;
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

/**
 * Walks the log and verifies each session in it; `verify` gives the report of one, or undefined where
 * there is none. Memory grows with the number of sessions. The log's faults come first: its signature,
 * its tree, what it was before.
 */
export async function checkFleet(
  fetch: TileFetch,
  trust: VerifyOptions,
  verify: (session: Known) => Promise<Report | undefined>,
): Promise<FleetReport> {
  const head = await readTreeHead(fetch);
  if (head === undefined)
    return { logFaults: ['there is no transparency log'], size: 0, sessions: [] };
  const findings = createFindings();
  const { origin, size } = head;
  const keys = { logKeys: trust.logKeys ?? [], witnesses: trust.witnesses ?? [] };
  checkNote(Buffer.from(head.note), { origin, size }, keys, findings);
  const tree = await checkTree({ origin, size, root: Buffer.from(head.root) }, fetch);
  const logFaults = [...findings.faults, ...findings.stretches].map(({ what }) => what);
  const grown = trust.known && (await followFault(trust.known, head, fetch));
  if (grown !== undefined) logFaults.push(grown);
  if (tree !== undefined)
    return { logFaults: [...logFaults, `${tree.where} ${tree.what}`], size, sessions: [] };
  const sessions: SessionResult[] = [];
  for (const known of await sessionsOf(size, fetch))
    sessions.push({ ...known, report: await verify(known) });
  return { logFaults, size, sessions };
}

/** Whether nothing is wrong with the log nor with any session in it. */
export const isFleetGood = ({ logFaults, sessions }: FleetReport): boolean =>
  logFaults.length === 0 && sessions.every(({ report }) => report !== undefined && isGood(report));
