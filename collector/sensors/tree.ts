/**
 * The process tree and what follows from it: to which tool call a process belongs. Pure: it is
 * told of processes, programs and ends, in the order in which the kernel showed them.
 *
 * A process whose program was started with the tool call's key in its environment belongs to that
 * call (`env_key`). Everything below it belongs to the same call (`ancestry`) until a program is
 * started with another key; a program that was started without the key stays in its ancestor's
 * call, since emptying the environment must not lead out of it. Both are exact as to the kernel's
 * facts; the key itself is the agent's word, and a child can set it.
 */
import type { DraftOf } from '#schemas';

type Attribution = Pick<
  DraftOf<'exec'>,
  'tool_call_id' | 'attribution' | 'attribution_confidence_pct'
>;

interface Node {
  readonly pid: number;
  ppid: number;
  readonly sinceNs: number;
  attribution: Attribution;
  own: boolean;
}

export interface Tree {
  /** A process is seen for the first time; its parent was announced before, unless unknown. */
  born(
    pid: number,
    ppid: number,
    sinceNs: number,
    keys?: Readonly<Record<string, string>>,
    again?: boolean,
  ): void;
  /** A program was started in `pid` with these join keys. */
  started(pid: number, keys: Readonly<Record<string, string>>): void;
  /** From now on `pid` and all that it starts are the collector's own. */
  disown(pid: number): void;
  gone(pid: number): void;
  readonly isOwn: (pid: number) => boolean;
  readonly ppid: (pid: number) => number;
  readonly sinceNs: (pid: number) => number | undefined;
  readonly attribution: (pid: number) => Attribution;
  readonly size: () => number;
}

const NONE: Attribution = {};

/** `toolCallKey` names the environment variable that carries the tool call's id. */
export function createTree(toolCallKey: string | undefined): Tree {
  const nodes = new Map<number, Node>();

  const byKey = (keys: Readonly<Record<string, string>>): Attribution | undefined => {
    const id = toolCallKey === undefined ? undefined : keys[toolCallKey];
    if (id === undefined || id === '') return undefined;
    return { tool_call_id: id, attribution: 'env_key', attribution_confidence_pct: 100 };
  };
  const inherited = (from: Attribution | undefined): Attribution =>
    from?.tool_call_id === undefined
      ? NONE
      : {
          tool_call_id: from.tool_call_id,
          attribution: 'ancestry',
          attribution_confidence_pct: 100,
        };

  return {
    born(pid, ppid, sinceNs, keys, again = false) {
      const parent = nodes.get(ppid);
      const before = nodes.get(pid);
      // Announced again by a new supervisor; its first parent is the one that counts.
      if (again && before !== undefined) return;
      const attribution = (keys && byKey(keys)) ?? inherited(parent?.attribution);
      nodes.set(pid, { pid, ppid, sinceNs, attribution, own: parent?.own ?? false });
    },
    started(pid, keys) {
      const node = nodes.get(pid);
      if (node === undefined) return;
      node.attribution = byKey(keys) ?? inherited(node.attribution);
    },
    disown(pid) {
      const node = nodes.get(pid);
      if (node !== undefined) node.own = true;
    },
    gone(pid) {
      nodes.delete(pid);
    },
    isOwn: (pid) => nodes.get(pid)?.own ?? false,
    ppid: (pid) => nodes.get(pid)?.ppid ?? 0,
    sinceNs: (pid) => nodes.get(pid)?.sinceNs,
    attribution: (pid) => nodes.get(pid)?.attribution ?? NONE,
    size: () => nodes.size,
  };
}
