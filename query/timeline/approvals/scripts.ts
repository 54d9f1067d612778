/** Files that an approved command runs, and that changed between the approval and the run. */
import { eventId } from '#schemas';
import type { Files, FileVersion } from '../files.ts';
import { ordersOf } from './command.ts';
import { approvedBy, brief, type Drift } from './finding.ts';
import type { Review } from './review.ts';

/** Versions that are looked at for one made by another than the call: a bound on hostile sessions. */
const LOOKED_AT_MAX = 256;
/** Files that one command may be ordered by. */
const ORDERS_MAX = 64;

/** All versions of what stood at a path, in order; made once a path. */
export function createVersions(files: Files) {
  const known = new Map<string, readonly FileVersion[]>();
  return (path: string): readonly FileVersion[] => {
    let versions = known.get(path);
    if (versions === undefined) {
      versions = files
        .at(path)
        .flatMap((file) => file.versions)
        .sort((a, b) => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0));
      known.set(path, versions);
    }
    return versions;
  };
}
type Versions = ReturnType<typeof createVersions>;

/** How many versions are earlier than `ns`. */
function earlier(versions: readonly FileVersion[], ns: string): number {
  let low = 0;
  let high = versions.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((versions[middle] as FileVersion).ns < ns) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The last known hash among versions before `end`, as far back as is looked. */
function hashBefore(versions: readonly FileVersion[], end: number): string | undefined {
  for (let at = end - 1; at >= Math.max(0, end - LOOKED_AT_MAX); at--)
    if (versions[at]?.sha256 !== undefined) return versions[at]?.sha256;
  return undefined;
}

interface Between {
  readonly from: string;
  readonly to: string;
  readonly callId: string;
}

/** The last change of a content in a time that the call itself did not make. */
function changeBetween(
  versions: readonly FileVersion[],
  { from, to, callId }: Between,
): FileVersion | undefined {
  const end = earlier(versions, to);
  const begin = Math.max(earlier(versions, from), end - LOOKED_AT_MAX);
  const changed = versions
    .slice(begin, end)
    .findLast((one) => one.changes && one.ns > from && one.attribution.toolCallId !== callId);
  if (changed === undefined) return undefined;
  // Written again with the same content is no change.
  const was = hashBefore(versions, begin);
  const same = was !== undefined && changed.sha256 === was && hashBefore(versions, end) === was;
  return same ? undefined : changed;
}

/** Programs that ran an approved text whose script was another by then. */
export function* ofScripts(versionsOf: Versions, review: Review): Generator<Drift> {
  const { shown, callId, executions } = review;
  if (shown === undefined) return;
  const orders = ordersOf(shown.expected, review.cwd).slice(0, ORDERS_MAX);
  for (const execution of executions) {
    const answer = approvedBy(review, execution.ns);
    if (answer === undefined || (execution.match !== 'same' && execution.match !== 'part'))
      continue;
    const exes = execution.process.images.slice(0, 2).map((image) => image.exe);
    for (const path of new Set([...orders, ...exes])) {
      const between = { from: answer.ts, to: execution.ns, callId };
      const changed = changeBetween(versionsOf(path), between);
      if (changed === undefined) continue;
      const loose = answer.scope !== undefined && answer.scope !== 'once';
      yield {
        kind: 'changed_script',
        severity: loose ? 'medium' : 'high',
        callId,
        method: changed.sha256 === undefined ? 'file' : 'hash',
        text: `${brief(path)} was changed after the approval and before it ran`,
        ns: changed.ns,
        eventIds: [eventId(answer), changed.eventId, execution.eventId],
        confidencePct: loose ? 60 : 85,
      };
      return;
    }
  }
}
