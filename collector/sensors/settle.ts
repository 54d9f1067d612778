/**
 * What became of the files that were written: size and SHA-256, read from the file itself when its
 * writer has ended or has been quiet for a while. The open was an attempt; this is the kernel's
 * state after the fact, told as one more `file` event with op `write` and assurance `verified`.
 *
 * It costs a share of the time at most (`budgetPct`): files beyond it are counted, not read. What
 * runs behind another root directory is left alone: its paths mean other files here.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import type { Clock, Draft, DraftOf } from '#schemas';

export interface SettleOptions {
  /** Larger files are told with their size only. */
  readonly bytesMax: number;
  /** Of the time since the start, in hundredths. */
  readonly budgetPct: number;
  /** What may be spent at once, so that the first files of a run are not missed. */
  readonly burstMs: number;
  /** A file of a living process is read when it was not opened again for so long. */
  readonly quietMs: number;
}

export const SETTLE_DEFAULTS: SettleOptions = {
  bytesMax: 16 * 1024 * 1024,
  budgetPct: 2,
  burstMs: 100,
  quietMs: 2000,
};

type FileDraft = DraftOf<'file'>;

interface Written {
  readonly draft: FileDraft;
  readonly sinceNs: bigint;
  /** Modification time and size when it was told last. */
  told?: string;
}

export interface Settler {
  /** Takes what the sensor saw; gives what is known now of files whose writers have ended. */
  take(drafts: readonly Draft[]): Draft[];
  /** What is known of files that are quiet. */
  quiet(): Draft[];
  /** All that is left, and how many were not read. */
  rest(): Draft[];
}

const PATHS_MAX = 100_000;
const NEW_ROOTS = new Set(['chroot', 'pivot_root', 'setns', 'unshare']);

/** Keeps the paths that were written, by path and by process. */
export function createSettler(clock: Clock, options: SettleOptions = SETTLE_DEFAULTS): Settler {
  const written = new Map<string, Written>();
  const byPid = new Map<number, Set<string>>();
  const foreign = createForeign();
  const budget = createBudget(clock, options);
  let unread = 0;

  const note = (draft: FileDraft) => {
    const { file_path: name, pid = 0 } = draft;
    if (!name.startsWith('/') || written.size >= PATHS_MAX) return;
    const told = written.get(name)?.told;
    written.set(name, {
      draft,
      sinceNs: clock.monotonicNs(),
      ...(told === undefined ? {} : { told }),
    });
    const paths = byPid.get(pid) ?? new Set();
    byPid.set(pid, paths.add(name));
  };
  const settle = (name: string): Draft[] => {
    const entry = written.get(name);
    if (entry === undefined) return [];
    if (!budget.allows()) {
      unread++;
      return [];
    }
    return budget.spend(() => stateOf(name, entry, options.bytesMax, clock));
  };
  const see = (draft: Draft): Draft[] => {
    foreign.see(draft);
    if (draft.kind === 'exit') {
      const paths = [...(byPid.get(draft.pid ?? 0) ?? [])];
      byPid.delete(draft.pid ?? 0);
      const after = paths.flatMap(settle);
      for (const name of paths) written.delete(name);
      return after;
    }
    if (draft.kind !== 'file' || foreign.has(draft)) return [];
    const { file_op: op, file_path: name, file_target_path: target } = draft;
    if (op === 'create' || op === 'write' || op === 'truncate') note(draft);
    else if (op === 'delete') written.delete(name);
    else if (op === 'rename' && target !== undefined && written.delete(name))
      note({ ...draft, file_path: target });
    return [];
  };
  const living = (which: (entry: Written) => boolean): Draft[] =>
    [...written].flatMap(([name, entry]) => (which(entry) ? settle(name) : []));
  return {
    take: (drafts) => drafts.flatMap(see),
    quiet() {
      const before = clock.monotonicNs() - BigInt(options.quietMs) * 1_000_000n;
      return living((entry) => entry.told === undefined && entry.sinceNs < before);
    },
    rest() {
      const last = living(() => true);
      written.clear();
      byPid.clear();
      if (unread === 0) return last;
      const reason = `${unread} written files were not hashed: it would have taken too much time`;
      unread = 0;
      return [...last, sensorDraft(clock, reason)];
    },
  };
}

const sensorDraft = (clock: Clock, reason: string): Draft => ({
  kind: 'sensor',
  ts: clock.wallNs().toString(),
  source: 'collector',
  assurance: 'verified',
  sensor_name: 'file_state',
  coverage: 'partial',
  reason,
});

/** Processes whose paths mean something else than ours: behind another root or mount namespace. */
function createForeign() {
  const own = new Set<number>();
  const children = new Set<number>();
  return {
    see(draft: Draft): void {
      const { pid = 0, ppid = 0 } = draft;
      if (pid === 0) return;
      if (draft.kind === 'exit') {
        own.delete(pid);
        children.delete(pid);
        return;
      }
      if (own.has(ppid) || children.has(ppid)) own.add(pid);
      if (draft.kind !== 'syscall') return;
      const flags = draft.attrs?.flags ?? 'CLONE_NEWNS';
      if (!flags.includes('CLONE_NEWNS') && draft.syscall !== 'chroot') return;
      if (NEW_ROOTS.has(draft.syscall)) own.add(pid);
      if (draft.syscall === 'clone') children.add(pid);
    },
    has: ({ pid = 0 }: Draft): boolean => own.has(pid),
  };
}

function createBudget(clock: Clock, { budgetPct, burstMs }: SettleOptions) {
  const startNs = clock.monotonicNs();
  let spentNs = 0n;
  return {
    allows(): boolean {
      const allowed = ((clock.monotonicNs() - startNs) * BigInt(budgetPct)) / 100n;
      return spentNs < allowed + BigInt(burstMs) * 1_000_000n;
    },
    spend<T>(work: () => T): T {
      const began = clock.monotonicNs();
      try {
        return work();
      } finally {
        spentNs += clock.monotonicNs() - began;
      }
    },
  };
}

/** The state of one file, where it changed since it was opened; nothing where it is gone. */
function stateOf(name: string, entry: Written, bytesMax: number, clock: Clock): Draft[] {
  let fd: number | undefined;
  try {
    // A device may do something when it is opened.
    if (!fs.lstatSync(name).isFile()) return [];
    // Neither a link nor a pipe that was put in its place is followed or waited for.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
    fd = fs.openSync(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const facts = fs.fstatSync(fd, { bigint: true });
    const state = `${facts.mtimeNs} ${facts.size}`;
    if (!facts.isFile() || facts.ctimeNs < openedNs(entry) || entry.told === state) return [];
    entry.told = state;
    const small = facts.size <= BigInt(bytesMax);
    const hash = small ? createHash('sha256').update(fs.readFileSync(fd)).digest('hex') : undefined;
    const { file_mode: _mode, file_target_path: _target, ...draft } = entry.draft;
    return [
      Object.assign({}, draft, {
        ts: clock.wallNs().toString(),
        file_op: 'write' as const,
        file_bytes: Number(facts.size),
        ...(hash === undefined ? {} : { file_sha256: hash }),
        outcome: 'success' as const,
        assurance: 'verified' as const,
        attrs: {
          state: 'after',
          // Which write this is the state of: what that one is attributed to, this one is as well.
          ...(draft.ts === undefined ? {} : { opened_ts: draft.ts }),
          ...(small ? {} : { unhashed: 'size' }),
        },
      }),
    ];
  } catch {
    // Gone, or not ours to read: the attempt is all that is known.
    return [];
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** The kernel stamps files by a coarse clock, which may lie a tick behind the fine one. */
const COARSE_NS = 20_000_000n;
const openedNs = ({ draft }: Written): bigint => BigInt(draft.ts ?? 0) - COARSE_NS;
