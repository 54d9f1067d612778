import { execFileSync } from 'node:child_process';

export interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Every process of this machine, from `ps` (procps), except zombies: those have ended. */
export function listProcesses(): ProcessRow[] {
  const text = execFileSync('ps', ['-eww', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' });
  return text.split('\n').flatMap((line) => {
    const found = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line);
    const [, pid, parent, stat, command] = found ?? [];
    if (stat === undefined || stat.startsWith('Z')) return [];
    return { pid: Number(pid), parent: Number(parent), command: String(command) };
  });
}

/** Children of a process, without the `ps` that looks for them. */
export function childrenOf(pid: number): number[] {
  return listProcesses()
    .filter((row) => row.parent === pid && !row.command.startsWith('ps '))
    .map((row) => row.pid);
}

/** Processes whose command line has this text. */
export function processesWith(text: string): number[] {
  return listProcesses()
    .filter((row) => row.command.includes(text))
    .map((row) => row.pid);
}
