/**
 * The audit of a log from outside, with nothing but its files: is it one tree, signed and cosigned;
 * does it go on from what its witnesses saw; and does the store still have what the log vouches
 * for. Pure: files, notes and rows come through parameters.
 */
import {
  CHECKPOINT_PATH,
  consistencyProof,
  type Head,
  openCheckpoint,
  type SignedCheckpoint,
  TileError,
  type TileFetch,
  tileReader,
  type VerifierKey,
  verifyConsistency,
} from '#schemas';
import { checkTree, type Leaf, type LogFault } from './walk.ts';

export interface LogAudit {
  /** The log's newest tree head; undefined where it has none that its key signed. */
  readonly checkpoint: SignedCheckpoint | undefined;
  readonly faults: readonly LogFault[];
}

/** A witness, and the note that it gave for the log by itself; undefined where it gave none. */
export interface Witnessed {
  readonly key: VerifierKey;
  readonly note: string | undefined;
}

async function followsFrom(
  seen: SignedCheckpoint,
  now: SignedCheckpoint,
  fetch: TileFetch,
): Promise<string | undefined> {
  if (seen.size > now.size)
    return `it saw ${seen.size} leaves, and the log shows ${now.size}: the log was cut or rolled back`;
  try {
    const proof = await consistencyProof(seen.size, now.size, tileReader(now.size, fetch));
    if (verifyConsistency(seen.size, now.size, proof, seen.root, now.root)) return undefined;
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    return error.message;
  }
  return `the tree does not go on from the ${seen.size} leaves that it saw: the log was written anew`;
}

async function checkWitness(
  witness: Witnessed,
  now: SignedCheckpoint,
  logKey: VerifierKey,
  fetch: TileFetch,
): Promise<LogFault[]> {
  const where = `witness ${witness.key.name}`;
  if (witness.note === undefined) return [{ where, what: 'has never cosigned this log' }];
  const seen = openCheckpoint(witness.note, logKey, [witness.key]);
  if (!seen.ok) return [{ where, what: seen.what }];
  if (seen.value.cosignatures.length === 0)
    return [{ where, what: 'its note lacks its signature' }];
  const what = await followsFrom(seen.value, now, fetch);
  return what === undefined ? [] : [{ where, what }];
}

/**
 * Audits a log by its files. `witnesses` are asked by the caller, each by itself, because a note
 * that the log hands out may be an old one. All faults are given, each with the place.
 */
export async function auditLog(
  fetch: TileFetch,
  logKey: VerifierKey,
  witnesses: readonly Witnessed[],
): Promise<LogAudit> {
  const bytes = await fetch(CHECKPOINT_PATH);
  const fault = (what: string): LogAudit => ({
    checkpoint: undefined,
    faults: [{ where: CHECKPOINT_PATH, what }],
  });
  if (bytes === undefined) return fault('the log has none');
  const opened = openCheckpoint(
    bytes,
    logKey,
    witnesses.map(({ key }) => key),
  );
  if (!opened.ok) return fault(opened.what);
  const checkpoint = opened.value;
  const faults: LogFault[] = [];
  for (const { key } of witnesses)
    if (!checkpoint.cosignatures.some((one) => one.key.text === key.text))
      faults.push({ where: CHECKPOINT_PATH, what: `it is not cosigned by ${key.name}` });
  for (const witness of witnesses)
    faults.push(...(await checkWitness(witness, checkpoint, logKey, fetch)));
  const tree = await checkTree(checkpoint, fetch);
  if (tree !== undefined) faults.push(tree);
  return { checkpoint, faults };
}

/** A leaf that the store does not bear out. */
export interface HeadFault {
  readonly leaf: Leaf;
  /** `missing`: no event stands at its place. `other`: another one does. */
  readonly what: 'missing' | 'other';
}

/** Leaves whose events are looked up at once. */
const LOOKUP_MAX = 256;
const placeOf = (head: Head) =>
  `${head.tenant}\n${head.session_id}\n${head.stream_id}\n${head.seq}`;

/**
 * Holds each leaf against the store: `lookup` gives the heads of the events that stand at the
 * places of some leaves. A session that was removed from the store shows by each of its leaves; a
 * place that has two leaves (a contradiction) shows by at least one. Memory does not grow.
 */
export async function* auditHeads(
  leaves: AsyncIterable<Leaf>,
  lookup: (heads: readonly Head[]) => Promise<readonly Head[]>,
): AsyncGenerator<HeadFault> {
  async function* check(batch: readonly Leaf[]): AsyncGenerator<HeadFault> {
    const found = new Map<string, Set<string>>();
    for (const head of await lookup(batch.map((leaf) => leaf.head))) {
      const digests = found.get(placeOf(head)) ?? new Set();
      found.set(placeOf(head), digests.add(head.event_digest));
    }
    for (const leaf of batch) {
      const digests = found.get(placeOf(leaf.head));
      if (digests === undefined) yield { leaf, what: 'missing' };
      else if (!digests.has(leaf.head.event_digest)) yield { leaf, what: 'other' };
    }
  }
  let batch: Leaf[] = [];
  for await (const leaf of leaves) {
    batch.push(leaf);
    if (batch.length < LOOKUP_MAX) continue;
    yield* check(batch);
    batch = [];
  }
  yield* check(batch);
}

/**
 * For each stream the last head that the log vouches for, in the order of those. What is kept grows
 * with the streams, not with the leaves. The first leaf of a place counts: a later one contradicts.
 */
export async function lastHeads(leaves: AsyncIterable<Leaf>): Promise<readonly Leaf[]> {
  const last = new Map<string, Leaf>();
  for await (const leaf of leaves) {
    const key = placeOf({ ...leaf.head, seq: 0 });
    if ((last.get(key)?.head.seq ?? -1) >= leaf.head.seq) continue;
    last.delete(key);
    last.set(key, leaf);
  }
  return [...last.values()];
}
