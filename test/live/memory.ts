/** How much memory a process holds, looked at once a second for as long as somebody asks. */
import fs from 'node:fs';

const SAMPLE_MS = 1_000;
const KB_PER_MB = 1024;

/** Resident set of a process in MB; 0 when it is gone. */
export function residentMb(pid: number): number {
  try {
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / KB_PER_MB);
  } catch {
    return 0;
  }
}

export interface MemoryWatch {
  /** Begins a phase of this name; its samples are kept apart. */
  phase(name: string): void;
  /** Ends watching; the highest sample of each phase, in MB. */
  stop(): Readonly<Record<string, number>>;
}

export function watchMemory(pid: number): MemoryWatch {
  const highest: Record<string, number> = {};
  let current = 'start';
  const timer = setInterval(() => {
    highest[current] = Math.max(highest[current] ?? 0, residentMb(pid));
  }, SAMPLE_MS);
  return {
    phase(name) {
      current = name;
    },
    stop() {
      clearInterval(timer);
      return highest;
    },
  };
}
