/**
 * Simulated time and processes. One queue of events in virtual time; between two of them every
 * promise continuation runs to its end, so a run is a function of its seed. A process that is
 * killed is never woken again; one that is stopped is woken when it goes on.
 */
import type { Clock, Random } from '#schemas';

/** A small fast seeded generator (sfc32, warmed up). */
export interface Dice {
  /** 0 <= x < 1 */
  next(): number;
  /** An integer, both ends included. */
  int(min: number, max: number): number;
  chance(p: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** Another generator that is a function of this one's seed and `name`, not of its state. */
  fork(name: string): Dice;
  bytes(count: number): Uint8Array;
}

export function createDice(seed: string): Dice {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 0xdeadbeef];
  for (let i = 0; i < seed.length; i++) {
    a = Math.imul(a ^ seed.charCodeAt(i), 0x85ebca6b) >>> 0;
    d = (Math.imul(d ^ a, 0xc2b2ae35) + i) >>> 0;
  }
  const word = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 16; i++) word();
  const next = () => word() / 4_294_967_296;
  const int = (min: number, max: number) => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    int,
    chance: (p) => next() < p,
    pick: (list) => list[int(0, list.length - 1)] as never,
    fork: (name) => createDice(`${seed}/${name}`),
    bytes: (count) => {
      const out = new Uint8Array(count);
      for (let i = 0; i < count; i++) out[i] = word() & 0xff;
      return out;
    },
  };
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly owner: Proc | undefined;
  readonly run: () => void;
}

/** What every use of a port by a killed process throws; nothing of it reaches the world. */
export class Killed extends Error {
  override readonly name = 'Killed';
}

/** One operating system process. */
export interface Proc {
  readonly name: string;
  readonly pid: number;
  readonly host: Host;
  readonly startedMs: number;
  readonly state: 'running' | 'stopped' | 'dead';
  readonly clock: Clock;
  readonly random: Random;
  /** SIGKILL. */
  kill(): void;
  /** SIGSTOP, and SIGCONT. */
  stop(): void;
  resume(): void;
  /** Is killed in the middle of its n-th disk operation from now on. */
  killAtDiskOp: number | undefined;
  readonly onEnd: (() => void)[];
}

/** One machine: its wall clock, its disk and the processes on it. */
export interface Host {
  readonly name: string;
  /** How far its wall clock is off, in milliseconds. */
  wallOffsetMs: number;
  readonly procs: Set<Proc>;
}

export interface World {
  readonly dice: Dice;
  readonly nowMs: number;
  /** Runs `run` after `ms`, unless `owner` is dead by then. */
  after(ms: number, run: () => void, owner?: Proc): void;
  host(name: string): Host;
  /** Starts a process; `main` runs at once. An error of it is kept in `crashes`. */
  spawn(host: Host, name: string, main: (proc: Proc) => Promise<void>): Proc;
  wallMs(host: Host): number;
  trace(line: string): void;
  readonly crashes: string[];
  /** Runs until `done` says so, looked at every `everyMs`; false when `limitMs` came first. */
  run(done: () => boolean, everyMs: number, limitMs: number): Promise<boolean>;
}

/** 2025-11-24, so that runs cross a midnight when they are told to. */
const EPOCH_MS = 1_764_000_000_000;
const EVENTS_MAX = 3_000_000;

export function createWorld(seed: string, tracer?: (line: string) => void): World {
  const dice = createDice(seed);
  const heap: Event[] = [];
  const crashes: string[] = [];
  let nowMs = 0;
  let order = 0;
  let pids = 100;

  const before = (x: Event, y: Event) =>
    x.atMs < y.atMs || (x.atMs === y.atMs && x.order < y.order);

  function push(event: Event): void {
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at] as Event, heap[parent] as Event)) return;
      [heap[at], heap[parent]] = [heap[parent] as Event, heap[at] as Event];
      at = parent;
    }
  }

  function pop(): Event | undefined {
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      let least = at;
      for (const child of [left, left + 1])
        if (child < heap.length && before(heap[child] as Event, heap[least] as Event))
          least = child;
      if (least === at) return top;
      [heap[at], heap[least]] = [heap[least] as Event, heap[at] as Event];
      at = least;
    }
  }

  const after = (ms: number, run: () => void, owner?: Proc) =>
    push({ atMs: nowMs + Math.max(0, ms), order: order++, owner, run });

  const trace = (line: string) => tracer?.(`${(nowMs / 1000).toFixed(4).padStart(9)}  ${line}`);
  const wallMs = (host: Host) => EPOCH_MS + nowMs + host.wallOffsetMs;

  function spawn(host: Host, name: string, main: (proc: Proc) => Promise<void>): Proc {
    const proc = createProc(host, name);
    host.procs.add(proc);
    trace(`${host.name}: ${name} starts (pid ${proc.pid})`);
    const failed = (error: unknown) => {
      if (proc.state === 'dead') return;
      crashes.push(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
      trace(`${name} crashed: ${String(error)}`);
    };
    const ended = () => {
      if (proc.state !== 'dead') trace(`${name} ends`);
      proc.kill();
    };
    after(0, () => void main(proc).catch(failed).finally(ended), proc);
    return proc;
  }

  function createProc(host: Host, name: string): Proc {
    let state: Proc['state'] = 'running';
    const clock = processClock(host, () => proc);
    const random = dice.fork(`random/${name}/${pids}`);
    const proc: Proc = {
      name,
      pid: pids++,
      host,
      startedMs: nowMs,
      get state() {
        return state;
      },
      clock,
      random,
      kill() {
        if (state === 'dead') return;
        state = 'dead';
        host.procs.delete(proc);
        for (const one of proc.onEnd.splice(0)) one();
      },
      stop() {
        if (state === 'running') state = 'stopped';
      },
      resume() {
        if (state !== 'stopped') return;
        state = 'running';
        for (const run of held.get(proc)?.splice(0) ?? []) after(0, run, proc);
      },
      killAtDiskOp: undefined,
      onEnd: [],
    };
    return proc;
  }

  /** What would have woken a stopped process. */
  const held = new Map<Proc, (() => void)[]>();

  /** As `deploy/process/clock.ts` has it: wall time is anchored once, at the process's start. */
  function processClock(host: Host, self: () => Proc): Clock {
    const startMs = nowMs;
    const startWallMs = wallMs(host);
    const ns = (ms: number) => BigInt(Math.round(ms * 1000)) * 1000n;
    return {
      wallNs: () => BigInt(startWallMs) * 1_000_000n + ns(nowMs - startMs),
      monotonicNs: () => ns(nowMs),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          const end = () => reject(signal?.reason);
          if (signal?.aborted) end();
          else {
            signal?.addEventListener('abort', end, { once: true });
            const wake = () => {
              signal?.removeEventListener('abort', end);
              resolve();
            };
            after(ms, wake, self());
          }
        }),
      every: (ms, work) => {
        let on = true;
        const tick = () => {
          if (!on) return;
          after(ms, tick, self());
          work();
        };
        after(ms, tick, self());
        return () => {
          on = false;
        };
      },
    };
  }

  function runIn(owner: Proc | undefined, run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!(error instanceof Killed) || owner?.state !== 'dead') throw error;
    }
  }

  function fire({ owner, run }: Event): void {
    if (owner?.state === 'dead') return;
    if (owner?.state === 'stopped') {
      const list = held.get(owner) ?? [];
      held.set(owner, list);
      list.push(run);
    } else runIn(owner, run);
  }

  /** One event, then all that follows from it in the same instant: ticks run after microtasks. */
  function run(done: () => boolean, everyMs: number, limitMs: number): Promise<boolean> {
    const endMs = nowMs + limitMs;
    let lookMs = nowMs;
    let count = 0;
    return new Promise((resolve, reject) => {
      const step = () => {
        try {
          const event = pop();
          if (event === undefined || event.atMs > endMs) return resolve(done());
          if (++count > EVENTS_MAX) throw new Error(`more than ${EVENTS_MAX} events: no progress`);
          nowMs = event.atMs;
          fire(event);
          if (nowMs >= lookMs) {
            lookMs = nowMs + everyMs;
            if (done()) return resolve(true);
          }
          queueMicrotask(() => process.nextTick(step));
        } catch (error) {
          reject(error);
        }
      };
      process.nextTick(step);
    });
  }

  return {
    dice,
    get nowMs() {
      return nowMs;
    },
    after,
    host: (name) => ({ name, wallOffsetMs: 0, procs: new Set() }),
    spawn,
    wallMs,
    trace,
    crashes,
    run,
  };
}
