/**
 * Which of a host's events belong to the session: those of the process that was started with the
 * session's mark among its arguments, and of all below it. By the feed's own process ids, which are
 * the host's, so that it works from within a container as well. Pure.
 */
import type { Draft } from '#schemas';
import { createTree } from '../sensors/tree.ts';
import type { FeedFact } from './facts.ts';

export interface ScopeOptions {
  readonly source: string;
  /** Stands in the arguments of the session's first process, and nowhere else on the host. */
  readonly mark: string;
  /** The environment variable that carries the tool call's id, where the feed has environments. */
  readonly toolCallKey?: string;
  /** Variables that an `exec` reports. */
  readonly joinKeys: readonly string[];
}

export interface Scope {
  /** The drafts of a fact: none where it is of somebody else's process. */
  take(fact: FeedFact): readonly Draft[];
  /** The first process, once it was seen. */
  readonly root: number | undefined;
  /** Whether its end was seen. */
  readonly ended: boolean;
}

type EventFact = Extract<FeedFact, { what: 'event' }>;

export function createScope(options: ScopeOptions): Scope {
  const { source, mark } = options;
  const tree = createTree(options.toolCallKey);
  const members = new Set<number>();
  let root: number | undefined;
  let ended = false;

  const enter = (pid: number, ppid: number | undefined) => {
    members.add(pid);
    tree.born(pid, ppid ?? 0, 0);
  };
  const isRoot = ({ fields }: EventFact) =>
    root === undefined &&
    fields.kind === 'exec' &&
    (fields.argv?.some((part) => part.includes(mark)) ?? false);
  const reported = (keys: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(keys).filter(([name]) => options.joinKeys.includes(name)));

  /** Environment of the exec: for the tree all of it, in the event only what is reported. */
  const withKeys = (fact: EventFact): EventFact['fields'] => {
    const { fields, pid } = fact;
    if (fields.kind !== 'exec') return fields;
    const { join_keys: keys = {}, ...rest } = fields;
    tree.started(pid, keys);
    const kept = reported(keys);
    return Object.keys(kept).length === 0 ? rest : { ...rest, join_keys: kept };
  };

  return {
    get root() {
      return root;
    },
    get ended() {
      return ended;
    },
    take(fact) {
      if (fact.what === 'nothing' || fact.what === 'loss') return [];
      const { pid, ppid } = fact;
      if (fact.what === 'event' && isRoot(fact)) {
        root = pid;
        enter(pid, ppid);
      }
      if (!members.has(pid)) {
        if (ppid === undefined || !members.has(ppid)) return [];
        enter(pid, ppid);
      }
      if (fact.what === 'born') return [];
      const fields = withKeys(fact);
      const draft = {
        ...fields,
        ...{ source, assurance: 'observed', pid },
        ...(ppid === undefined ? {} : { ppid }),
        ...tree.attribution(pid),
      } as Draft;
      if (fields.kind === 'exit') {
        members.delete(pid);
        tree.gone(pid);
        if (pid === root) ended = true;
      }
      return [draft];
    },
  };
}
