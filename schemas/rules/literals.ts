/**
 * Finds which of many literals stand in a text, over UTF-16 units: anywhere, in one pass over the
 * text (Aho and Corasick, "Efficient string matching", CACM 1975); at its front or at its end, by a
 * walk that is over at the first unit with which no literal goes on.
 */

/** A node of the trie: its transitions, where to go on when there is none, and what ends here. */
interface State {
  readonly next: Map<number, State>;
  fail: State | undefined;
  /** Ids of the literals that end here, those of the failure states included. */
  ids: number[];
}

const state = (): State => ({ next: new Map(), fail: undefined, ids: [] });

function insert(root: State, text: string, id: number): void {
  let at = root;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    let next = at.next.get(unit);
    if (next === undefined) {
      next = state();
      at.next.set(unit, next);
    }
    at = next;
  }
  at.ids.push(id);
}

/** Sets the failure transitions, level by level. */
function link(root: State): readonly State[] {
  const order = [root];
  for (const at of order)
    for (const [unit, child] of at.next) {
      let fail = at.fail;
      while (fail !== undefined && !fail.next.has(unit)) fail = fail.fail;
      child.fail = at === root ? root : (fail?.next.get(unit) ?? root);
      child.ids = [...new Set([...child.ids, ...child.fail.ids])];
      order.push(child);
    }
  return order;
}

/** Units below this have their transitions in one dense table; telemetry is ASCII nearly always. */
const DENSE = 128;

/** Calls `found` with the ids of each literal that stands in a text, once for each place of it. */
export type Literals = (text: string, found: (ids: readonly number[]) => void) => void;

/** Compiles literals; several may have the same id, and several ids the same literal. */
export function createLiterals(
  literals: readonly (readonly [text: string, id: number])[],
): Literals {
  const root = state();
  for (const [text, id] of literals) insert(root, text, id);
  const order = link(root);
  const numbers = new Map(order.map((at, number) => [at, number]));
  // Half the size is half the cache.
  const table = new (order.length > 0xffff ? Uint32Array : Uint16Array)(order.length * DENSE);
  const step = (from: State, unit: number): State => {
    let at: State | undefined = from;
    while (at !== undefined) {
      const next = at.next.get(unit);
      if (next !== undefined) return next;
      at = at.fail;
    }
    return root;
  };
  order.forEach((at, number) => {
    for (let unit = 0; unit < DENSE; unit++)
      table[number * DENSE + unit] = numbers.get(step(at, unit)) as number;
  });
  const ids = order.map((at) => (at.ids.length === 0 ? undefined : at.ids));
  return (text, found) => {
    let at = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      at =
        unit < DENSE
          ? (table[at * DENSE + unit] as number)
          : (numbers.get(step(order[at] as State, unit)) as number);
      const here = ids[at];
      if (here !== undefined) found(here);
    }
  };
}

/** A literal that texts begin with (read backward: end with), or that they are when it is `whole`. */
export interface Ending {
  readonly text: string;
  readonly id: number;
  readonly whole: boolean;
}

/** A node of a tree of literals. Most have one child, which needs no map. */
class Branch {
  unit = -1;
  child: Branch | undefined;
  others: Map<number, Branch> | undefined;
  /** Ids of the literals that end here, whatever comes behind; and those that are whole texts. */
  parts: number[] | undefined;
  wholes: number[] | undefined;

  next(unit: number): Branch | undefined {
    return this.unit === unit ? this.child : this.others?.get(unit);
  }

  grow(unit: number): Branch {
    const there = this.next(unit);
    if (there !== undefined) return there;
    const branch = new Branch();
    if (this.child === undefined) {
      this.unit = unit;
      this.child = branch;
    } else {
      this.others ??= new Map();
      this.others.set(unit, branch);
    }
    return branch;
  }

  end({ id, whole }: Ending): void {
    if (whole) this.wholes = [...(this.wholes ?? []), id];
    else this.parts = [...(this.parts ?? []), id];
  }
}

/** Finds the literals that a text begins with, or is. */
export function createForward(endings: readonly Ending[]): Literals {
  const root = new Branch();
  for (const ending of endings) {
    let at = root;
    for (let i = 0; i < ending.text.length; i++) at = at.grow(ending.text.charCodeAt(i));
    at.end(ending);
  }
  return (text, found) => {
    let at: Branch | undefined = root;
    for (let i = 0; i < text.length; i++) {
      if (at.parts !== undefined) found(at.parts);
      at = at.next(text.charCodeAt(i));
      if (at === undefined) return;
    }
    if (at.parts !== undefined) found(at.parts);
    if (at.wholes !== undefined) found(at.wholes);
  };
}

/** Finds the literals that a text ends with. */
export function createBackward(endings: readonly Ending[]): Literals {
  const root = new Branch();
  for (const ending of endings) {
    let at = root;
    for (let i = ending.text.length - 1; i >= 0; i--) at = at.grow(ending.text.charCodeAt(i));
    at.end(ending);
  }
  return (text, found) => {
    let at: Branch | undefined = root;
    for (let i = text.length - 1; i >= 0; i--) {
      if (at.parts !== undefined) found(at.parts);
      at = at.next(text.charCodeAt(i));
      if (at === undefined) return;
    }
    if (at.parts !== undefined) found(at.parts);
    if (at.wholes !== undefined) found(at.wholes);
  };
}
