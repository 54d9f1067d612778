/** What is mutated: a clean bundle, the store and the log behind it, and where its places are. */
import type { VerifyOptions } from '../../schemas/evidence/verify.ts';
import type { LogPart } from '../../schemas/evidence/write.ts';
import type { CleanCase } from './clean.ts';
import { exportFiles, type Files } from './pack.ts';
import {
  createWorld,
  type Dice,
  LOG,
  type Store,
  WITNESS,
  type Wire,
  type World,
} from './world.ts';

export interface Subject {
  readonly name: string;
  readonly clean: CleanCase;
  readonly world: World;
  readonly store: Store;
  readonly log: LogPart;
  readonly files: Files;
  /** Of each stream: the numbers of its checkpoints, and its last number. */
  readonly points: ReadonlyMap<string, readonly number[]>;
  readonly ends: ReadonlyMap<string, number>;
}

export const CHECKPOINT_KINDS: ReadonlySet<string> = new Set([
  'session.heartbeat',
  'session.close',
]);

/** Where a mutation must be found. */
export type Target =
  | { readonly stream: string; readonly first: number; readonly last: number }
  | { readonly file: string; readonly line?: number };

export interface Mutation {
  readonly kind: string;
  /** What was done, for whoever replays it. */
  readonly detail: string;
  /** The archive's files; or its bytes, where the archive itself was hurt. */
  readonly files?: Files;
  readonly bytes?: Buffer;
  /** Each of these places will do: the mutation lies in all of them. */
  readonly targets: readonly Target[];
  readonly options?: VerifyOptions & { readonly knownNote?: string };
  /** The bundle is no bundle any more: both verifiers must refuse it. */
  readonly unreadable?: boolean;
}

export const KEYS: VerifyOptions = { logKeys: [LOG.verifier], witnesses: [WITNESS.verifier] };

const cloneStore = (store: Store): Store => structuredClone(store);

export async function createSubject(clean: CleanCase, seed: string): Promise<Subject> {
  const world = createWorld(seed, clean.plan);
  const store = world.stores[0] as Store;
  const log = await world.log(store.session);
  const points = new Map<string, number[]>();
  const ends = new Map<string, number>();
  for (const row of store.rows) {
    const known = points.get(row.stream_id) ?? [];
    if (CHECKPOINT_KINDS.has(row.kind)) known.push(row.seq);
    points.set(row.stream_id, known);
    ends.set(row.stream_id, Math.max(ends.get(row.stream_id) ?? -1, row.seq));
  }
  const files = exportFiles(store, log, clean.content);
  return { name: clean.name, clean, world, store, log, files, points, ends };
}

/** The store's rows to change freely, and the export of what they then are. */
export function changed(
  subject: Subject,
  change: (store: Store) => void,
  log = subject.log,
): Files {
  const store = cloneStore(subject.store);
  change(store);
  return exportFiles(store, log, subject.clean.content);
}

/**
 * The interval between the checkpoints around some numbers, both included. A checkpoint among the
 * numbers themselves is none that surrounds them: it may be what was hurt.
 */
export function around(
  subject: Subject,
  stream: string,
  first: number,
  last: number,
  own = false,
): Target {
  const points = subject.points.get(stream) ?? [];
  const before = points.filter((seq) => seq < first).at(-1) ?? 0;
  const hurt = (seq: number) => own && seq >= first && seq <= last;
  const behind =
    points.find((seq) => seq >= last && !hurt(seq)) ?? subject.ends.get(stream) ?? last;
  return { stream, first: before, last: behind };
}

/**
 * Rows that a checkpoint covers and no hole concerns: where numbers are missing already, what lies
 * between the checkpoints around them can't be checked, and the clean verdict says so.
 */
export function coveredRows(subject: Subject): readonly Wire[] {
  const { store, points } = subject;
  return store.rows.filter((row) => {
    const own = points.get(row.stream_id) ?? [];
    const next = own.find((seq) => seq >= row.seq);
    if (next === undefined) return false;
    const before = own.filter((seq) => seq < row.seq).at(-1) ?? -1;
    const numbers = store.rows.filter(
      ({ stream_id: stream, seq }) => stream === row.stream_id && seq > before && seq <= next,
    );
    return numbers.length === next - before;
  });
}

export type { Dice };
