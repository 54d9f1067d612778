/** Folders on this machine: room on their disks, and who can read what is secret in them. */
import fs from 'node:fs';
import path from 'node:path';
import { type Check, check, fail, type Look, warn } from './check.ts';

/** Less room than this is worth a look; less than the second and writing fails soon. */
export const ROOM_WARN_BYTES = 10 * 1024 ** 3;
export const ROOM_FAIL_BYTES = 1024 ** 3;
const GIB = 1024 ** 3;

/** What so much room on a disk means. */
export function roomOf(where: string, free: number, total: number): Look {
  const text = `${where}: ${(free / GIB).toFixed(1)} of ${(total / GIB).toFixed(1)} GiB free`;
  const next = 'make room, or let retention remove sessions ("telltale retention run")';
  if (free < ROOM_FAIL_BYTES) return fail(text, next);
  return free < ROOM_WARN_BYTES ? warn(text, next) : text;
}

/** The nearest folder that is there: one that is not made yet lies on the disk of its parent. */
function existing(dir: string): string {
  const parent = path.dirname(dir);
  return fs.existsSync(dir) || parent === dir ? dir : existing(parent);
}

function room(dir: string): Look {
  const { bavail, blocks, bsize } = fs.statfsSync(existing(dir));
  return roomOf(dir, bavail * bsize, blocks * bsize);
}

const SECRETS = [
  'tlog/log.key',
  'tlog/log.key.previous',
  'access/tokens.json',
  'access/local.json',
  'access/journal/redaction.key',
];

/** Whether others than their owner can read what is secret. */
export function modes(files: readonly string[]): Look {
  const there = files.filter((file) => fs.existsSync(file));
  if (there.length === 0) return 'no key files here';
  const open = there.filter((file) => (fs.statSync(file).mode & 0o077) !== 0);
  if (open.length === 0) return `${there.length} key files are their owner's alone`;
  const list = open.map((file) => JSON.stringify(file)).join(', ');
  return fail(
    `others can read ${list}`,
    'chmod 600 them; whoever read them may sign or ask: change them ("telltale keys rotate", "telltale token rotate")',
  );
}

export async function lookAtFiles(data: string, spool: string): Promise<Check[]> {
  const secrets = [
    ...SECRETS.map((name) => path.join(data, name)),
    path.join(spool, 'redaction.key'),
  ];
  return [
    await check('disk of the data', () => room(data), 'look at the folder by hand'),
    await check('disk of the spool', () => room(spool), 'look at the folder by hand'),
    await check('key files', () => modes(secrets), 'look at the folder by hand'),
  ];
}
