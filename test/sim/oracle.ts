/**
 * The one oracle. After all faults are over and everything is drained it holds the table, and the
 * table alone, against what the collectors gave out. It knows nothing of how a run went wrong.
 */
import {
  accountFor,
  type Completeness,
  decode,
  type StreamFacts,
  type TelltaleEvent,
  toRanges,
  verifyChain,
} from '#schemas';
import type { CollectorRun, Run } from './run.ts';
import type { StoredRow } from './table.ts';

export interface Verdict {
  readonly seed: number;
  /** Nothing when all is well. */
  readonly faults: readonly string[];
  readonly events: number;
  readonly stored: number;
  readonly parked: number;
  readonly virtualMs: number;
}

/** A sync is due this often and takes its time: what is older must survive a power loss. */
const SYNC_BOUND_MS = 1_100;
/** Errors that a person would be told of although nothing is wrong with the code. */
const EXPECTED_ERRORS = new Set([
  'ingest.store_not_ready',
  'spool.disk_full',
  'spool.write_failed',
  'session.spool_full',
  'session.not_closed',
  'session.no_heartbeat',
]);

const nameIn = (event: TelltaleEvent): string | undefined => {
  const text = 'file_path' in event ? event.file_path?.slice(1) : undefined;
  const prompt = 'prompt' in event ? event.prompt : undefined;
  return (text ?? prompt)?.split(' ')[0];
};

/** The first numbers of a list, for people. */
const few = (numbers: readonly number[]) =>
  `${numbers.slice(0, 5).join(',')}${numbers.length > 5 ? ` … (${numbers.length})` : ''}`;

interface Seen {
  readonly rows: readonly StoredRow[];
  readonly parked: readonly number[];
  readonly events: readonly TelltaleEvent[];
  readonly account: Completeness;
}

function seenOf(run: Run, one: CollectorRun, say: (fault: string) => void): Seen {
  const { stream_id } = one.truth.identity;
  const rows = run.table.events.filter(({ stream }) => stream === stream_id);
  const parked = run.table.dead
    .filter((row) => row.stream_id === stream_id && row.seq !== null)
    .map((row) => Number(row.seq));
  const events = rows.flatMap(({ line, seq }) => {
    const decoded = decode(line);
    if (!decoded.ok) say(`row ${seq} is no event`);
    return decoded.ok ? [decoded.event] : [];
  });
  const close = events.find((event) => event.kind === 'session.close');
  const facts: StreamFacts = {
    stored: toRanges(rows.map(({ seq }) => seq)),
    parked: toRanges(parked),
    gaps: events.filter((event) => event.kind === 'gap'),
    ...(close === undefined ? {} : { closeCount: close.chain_count }),
  };
  return { rows, parked, events, account: accountFor(facts) };
}

/** Nothing twice, nothing altered, everything in its place. */
function checkRows({ rows }: Seen, one: CollectorRun, inOrder: boolean, say: Say): void {
  const { stamped } = one.truth;
  const seen = new Set<number>();
  let [before, latest, last] = [-1, -1, 0];
  for (const { seq, line, insert } of rows) {
    if (seen.has(seq)) say(`number ${seq} is stored twice`);
    seen.add(seq);
    if (stamped[seq]?.toString('utf8') !== line) say(`row ${seq} is not what was given out`);
    // Within one insert the order is the engine's; from insert to insert it is ours.
    if (insert !== last) [before, last] = [latest, insert];
    if (inOrder && seq < before) say(`number ${seq} came after ${before}`);
    latest = Math.max(latest, seq);
  }
}

/**
 * Which numbers must be there: all that the spool took, unless the power went too early. While a
 * process stands still it syncs nothing, so the bound goes back to before that; the last stretch
 * first, because one that ended just before it takes the bound back further.
 */
function mustBeStored({ truth }: CollectorRun): readonly number[] {
  const idle = [...truth.idleMs].sort(([, a], [, b]) => b - a);
  const losses = truth.lossesMs.map((lossMs) =>
    idle.reduce(
      (bound, [from, to]) =>
        from < lossMs && to > bound ? Math.min(bound, from - SYNC_BOUND_MS) : bound,
      lossMs - SYNC_BOUND_MS,
    ),
  );
  const bound = Math.min(...losses, Number.POSITIVE_INFINITY);
  return truth.spooledMs.flatMap((atMs, seq) => (atMs < bound ? [seq] : []));
}

type Say = (fault: string) => void;

function checkConservation(seen: Seen, one: CollectorRun, say: Say): void {
  const { account, rows, parked } = seen;
  const { truth } = one;
  const there = new Set([...rows.map(({ seq }) => seq), ...parked]);
  const missing = mustBeStored(one).filter((seq) => !there.has(seq));
  if (missing.length > 0) say(`lost: ${few(missing)} of ${truth.spooledMs.length}`);
  const sum = account.stored + account.parked + account.declaredMissing;
  const unaccounted = account.unaccounted.reduce((n, [from, to]) => n + to - from + 1, 0);
  if (account.produced !== sum + unaccounted) say('the account does not add up');
  const whole = there.size >= truth.stamped.length;
  const { verdict } = account;
  if (!whole && (verdict === 'complete' || verdict === 'declared'))
    say(
      `says ${verdict}, and ${truth.stamped.length - there.size} of ${truth.stamped.length} are not there`,
    );
  const silent = account.unnumberedLost === 0 && truth.dropped > 0;
  if (verdict === 'complete' && (silent || parked.some((seq) => !hasRow(rows, seq))))
    say(`says complete, and ${truth.dropped} were dropped`);
  const closed = truth.closed && whole && truth.spooledMs.length === truth.stamped.length;
  if (closed && verdict !== 'complete' && verdict !== 'declared')
    say(`says ${verdict}, and all of it is there: ${JSON.stringify(account)}`);
}

const hasRow = (rows: readonly StoredRow[], seq: number) => rows.some((row) => row.seq === seq);

/** What the agent did, in its order, each thing once: stored, or counted where it was dropped. */
function checkDrafts(seen: Seen, one: CollectorRun, say: Say): void {
  const { truth } = one;
  const events = [...seen.events].sort((a, b) => a.seq - b.seq);
  const numbers = events.flatMap((event) => {
    const name = nameIn(event);
    return name === undefined ? [] : [Number(name.split('/d')[1])];
  });
  for (const [i, n] of numbers.entries())
    if (i > 0 && n <= (numbers[i - 1] as number)) say(`draft ${n} stands behind its follower`);
  if (truth.lossesMs.length > 0) return;
  const parked = seen.parked.filter((seq) => !hasRow(seen.rows, seq)).length;
  const there = numbers.length + parked;
  const declared = seen.account.unnumberedLost;
  const room = truth.stamped.length === truth.spooledMs.length;
  if (truth.closed && !truth.killed && room && there + declared < truth.added.length)
    say(`${truth.added.length} drafts, ${there} stored or parked, ${declared} declared`);
  if (truth.closed && !truth.killed && parked === 0 && there + declared > truth.added.length)
    say(`${truth.added.length} drafts, ${there} stored, and ${declared} declared lost`);
  if (truth.killed && room && there + truth.dropped < truth.added.length)
    say(`add() resolved for ${truth.added.length}, ${there} stored, ${truth.dropped} dropped`);
}

function checkChain(seen: Seen, one: CollectorRun, say: Say): void {
  if (seen.events.length === 0) return;
  const integrity = verifyChain(one.truth.identity, seen.events);
  if (integrity.verdict === 'broken')
    say(`the chain is broken: ${JSON.stringify(integrity.faults.slice(0, 2))}`);
  const whole = seen.account.verdict === 'complete';
  if (whole && integrity.verdict !== 'intact') say(`complete, and the chain ${integrity.verdict}`);
}

export function judgeRun(run: Run, drained: boolean): Verdict {
  const { world, table, collectors, plan } = run;
  const faults: string[] = [];
  if (!drained) faults.push('did not drain');
  for (const crash of world.crashes) faults.push(`crash: ${crash}`);
  for (const [event, count] of run.errors)
    if (!EXPECTED_ERRORS.has(event)) faults.push(`error ${event} ×${count}`);
  for (const one of collectors) {
    const say = (what: string) =>
      faults.push(`…${one.truth.identity.stream_id.slice(-2)}: ${what}`);
    const seen = seenOf(run, one, say);
    checkRows(seen, one, !plan.careless && one.plan.workload.days === 1, say);
    if (drained) checkConservation(seen, one, say);
    if (drained) checkDrafts(seen, one, say);
    checkChain(seen, one, say);
  }
  const known = new Set(collectors.map(({ truth }) => truth.identity.stream_id));
  const bad = table.dead.filter((row) => !known.has(String(row.stream_id))).length;
  if (drained && bad < run.poisoned.messages && !plan.http)
    faults.push(`${run.poisoned.messages} messages were poison, ${bad} are parked`);
  return {
    seed: plan.seed,
    faults,
    events: collectors.reduce((n, { truth }) => n + truth.stamped.length, 0),
    stored: table.events.length,
    parked: table.dead.length,
    virtualMs: world.nowMs,
  };
}
