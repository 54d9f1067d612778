/**
 * A log's disk in memory, that forgets: what was not synced may be lost, in any part, when the
 * power goes. It can be told to fail at its n-th step, before or in the midst of it.
 */
import { dirOf, type LogFiles } from '../../../ingest/seal/files.ts';

export class PowerLoss extends Error {}

export interface MemoryFiles extends LogFiles {
  /** All files as the running machine sees them. */
  readonly live: Map<string, Buffer>;
  /** How many writes, renames, syncs and removals there were. */
  readonly steps: number;
  /** The power goes at this step; `torn` is how much of a write got through, 0 to 1. */
  failAt(step: number, torn: number): void;
  /** What is found after the power came back; `lucky` says of what was not synced if it is there. */
  reboot(lucky: (name: string) => boolean): Map<string, Buffer>;
}

export function memoryFiles(start: ReadonlyMap<string, Buffer> = new Map()): MemoryFiles {
  const live = new Map(start);
  /** Names that survive, with their content; a name gets here by `syncDir`. */
  const durable = new Map(start);
  let steps = 0;
  let failing = Number.POSITIVE_INFINITY;
  let torn = 0;
  let dead = false;

  function step(): boolean {
    if (dead) throw new PowerLoss('the power is gone');
    steps++;
    return steps === failing;
  }
  function die(): never {
    dead = true;
    throw new PowerLoss(`power lost at step ${steps}`);
  }
  const inDir = (dir: string) => (name: string) => dirOf(name) === dir;

  return {
    live,
    get steps() {
      return steps;
    },
    failAt: (at, part) => {
      [failing, torn] = [at, part];
    },
    reboot(lucky) {
      const found = new Map(durable);
      for (const name of new Set([...live.keys(), ...durable.keys()])) {
        const bytes = live.get(name);
        if (!lucky(name)) continue;
        if (bytes === undefined) found.delete(name);
        else found.set(name, bytes);
      }
      return found;
    },
    read: async (name) => {
      if (dead) throw new PowerLoss('the power is gone');
      const bytes = live.get(name);
      return bytes === undefined ? undefined : Buffer.from(bytes);
    },
    write: async (name, bytes) => {
      const failed = step();
      const kept = failed ? bytes.subarray(0, Math.floor(bytes.length * torn)) : bytes;
      live.set(name, Buffer.from(kept));
      // The content of a name that is durable already is overwritten in place.
      if (durable.has(name)) durable.set(name, Buffer.from(kept));
      if (failed) die();
    },
    rename: async (from, to) => {
      const failed = step();
      if (failed && torn < 0.5) die();
      const bytes = live.get(from);
      if (bytes === undefined) throw new Error(`${from} is not there`);
      live.delete(from);
      live.set(to, bytes);
      if (failed) die();
    },
    syncDir: async (dir) => {
      if (step()) die();
      for (const name of [...durable.keys()].filter(inDir(dir)))
        if (!live.has(name)) durable.delete(name);
      for (const name of [...live.keys()].filter(inDir(dir)))
        durable.set(name, live.get(name) as Buffer);
    },
    makeDir: async () => {},
    remove: async (name) => {
      if (step()) die();
      for (const one of [...live.keys()])
        if (one === name || one.startsWith(`${name}/`)) live.delete(one);
    },
  };
}
