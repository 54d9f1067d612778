/** What a run costs: CPU time of processes and of one thread of them, medians, figures in a line. */
import fs from 'node:fs';

const TICKS_PER_SECOND = 100;

/** Fields 14 and 15 of a stat file: ticks in user and in system mode. */
function cpuSecondsIn(file: string): number {
  const stat = fs.readFileSync(file, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** CPU seconds of a process so far, all its threads together. */
export const cpuSecondsOf = (pid: number): number => cpuSecondsIn(`/proc/${pid}/stat`);

/** CPU seconds of its main thread: in Node, all that is JavaScript. */
export const mainThreadSecondsOf = (pid: number): number =>
  cpuSecondsIn(`/proc/${pid}/task/${pid}/stat`);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

export function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? NaN;
}

/** CPU microseconds of this process for each of `count` things that `work` does. */
export async function cpuMicrosEach(count: number, work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

export const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

export const say = (text: string): void => void process.stderr.write(`bench: ${text}\n`);
