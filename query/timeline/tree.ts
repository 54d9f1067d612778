/** How deep the nodes of a tree stand, when each names its parent and any may lie. */

export interface TreeNode {
  parentId?: string | undefined;
  depth: number;
}

/**
 * Sets the depths by walking up, 0 at a root. A node whose parent is not there, or whose chain of
 * parents comes back to itself (forged ids, wrong pids), loses its `parentId` and is a root. Each
 * node is walked once.
 */
export function settleDepths<T extends TreeNode>(byId: ReadonlyMap<string, T>): void {
  const done = new Set<T>();
  for (const start of byId.values()) {
    const path: T[] = [];
    const onPath = new Set<T>();
    let at: T | undefined = start;
    while (at !== undefined && !done.has(at)) {
      path.push(at);
      onPath.add(at);
      const up: T | undefined = at.parentId === undefined ? undefined : byId.get(at.parentId);
      if (up === undefined || onPath.has(up)) {
        delete at.parentId;
        at = undefined;
      } else at = up;
    }
    let depth = at === undefined ? -1 : at.depth;
    for (const one of path.reverse()) {
      one.depth = ++depth;
      done.add(one);
    }
  }
}
