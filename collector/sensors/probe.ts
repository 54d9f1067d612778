/**
 * The self-check: what the launcher does before it becomes the command, and what the sensor must
 * have made of it. Pure, and without imports that cost start-up time.
 */
import type { Draft } from '#schemas';

const address = Buffer.alloc(16);
address.writeUInt16LE(2, 0);
address.writeUInt16BE(9, 2);
address.set([127, 0, 0, 1], 4);

/** Connecting a datagram socket sends nothing; port 9 is "discard". */
export const PROBE = {
  file: '/dev/null',
  argument: 'telltale-probe',
  family: 2,
  socketType: 2,
  address,
  ip: '127.0.0.1',
  port: 9,
} as const;

/** The first that exists is run. */
export const PROBE_PROGRAMS: readonly string[] = ['/bin/true', '/usr/bin/true', '/bin/busybox'];

/** What is wrong with the sensor, in words; empty where the probe was seen whole. */
export function probeFaults(drafts: readonly Draft[]): readonly string[] {
  const faults: string[] = [];
  const execs = drafts.filter((draft) => draft.kind === 'exec');
  const exec = execs.find((draft) => draft.argv?.[1] === PROBE.argument);
  if (exec === undefined) faults.push('the probe’s exec was not seen');
  else if (exec.assurance !== 'verified') faults.push('the probe’s exec was not confirmed');
  if (!drafts.some((draft) => draft.kind === 'file' && draft.file_path === PROBE.file))
    faults.push('the probe’s write was not seen with its path');
  const connected = drafts.some(
    (draft) => draft.kind === 'net' && draft.net_ip === PROBE.ip && draft.net_port === PROBE.port,
  );
  if (!connected) faults.push('the probe’s connect was not seen with its address');
  if (exec !== undefined && !hasExit(drafts, exec.pid))
    faults.push('the probe’s exit code was not seen');
  return faults;
}

function hasExit(drafts: readonly Draft[], pid: number | undefined): boolean {
  return drafts.some(
    (draft) => draft.kind === 'exit' && draft.pid === pid && draft.exit_code !== undefined,
  );
}
