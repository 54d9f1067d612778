/**
 * The guard process: it outlives its parent by a moment and kills what the parent left behind.
 *
 * Standard input, a line each:  `+PID` watch this process group, `-PID` it has ended.
 * End of input means that the parent is gone, however it went (SIGKILL included, which no handler
 * in the parent could see). What is still watched then gets SIGKILL: it also ends a process that
 * SIGSTOP holds, and a Kafka log is made to survive it.
 */
import { createInterface } from 'node:readline';

const watched = new Set<number>();
const lines = createInterface({ input: process.stdin });

lines.on('line', (line) => {
  const pid = Number(line.slice(1));
  // 0 and 1 would mean "my own group" and "everything" to kill(2).
  if (!Number.isSafeInteger(pid) || pid <= 1) return;
  if (line.startsWith('+')) watched.add(pid);
  else watched.delete(pid);
});

lines.on('close', () => {
  for (const pid of watched) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It ended by itself in the meantime.
    }
  }
  process.exit(0);
});

// Only the end of input ends the guard: a signal meant for the parent's terminal must not.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.stdout.write('ready\n');
