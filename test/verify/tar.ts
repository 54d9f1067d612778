/**
 * A tar archive of regular files, read whole. Written from schemas/evidence/README.md and POSIX
 * ustar alone; nothing of the project is imported.
 */
const BLOCK = 512;
const NAMES = [
  'manifest.json',
  'events.ndjson',
  'blobs.ndjson',
  'dead-letters.ndjson',
  'log/checkpoint',
  'log/proofs.ndjson',
  'custody.ndjson',
];

/** Nothing can be said about this bundle. */
export class Unreadable extends Error {}

const text = (block: Buffer, from: number, to: number): string => {
  const field = block.subarray(from, to);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString('utf8');
};

function octal(block: Buffer, from: number, to: number): number {
  const digits = text(block, from, to).trim();
  if (!/^[0-7]+$/.test(digits)) throw new Unreadable('a number in a tar header is no octal number');
  return Number.parseInt(digits, 8);
}

function checkSum(block: Buffer): boolean {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : (block[i] as number);
  return sum === octal(block, 148, 156);
}

/** The files by name. Throws `Unreadable` for anything that the format does not allow. */
export function readTar(bytes: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  let place = -1;
  let at = 0;
  for (;;) {
    if (at + BLOCK > bytes.length) throw new Unreadable('the archive is cut off');
    const block = bytes.subarray(at, at + BLOCK);
    at += BLOCK;
    if (block.every((byte) => byte === 0)) break;
    if (!checkSum(block)) throw new Unreadable('a tar header has a wrong check sum');
    const prefix = text(block, 345, 500);
    const name = `${prefix === '' ? '' : `${prefix}/`}${text(block, 0, 100)}`;
    const index = NAMES.indexOf(name);
    if (index < 0) throw new Unreadable(`no such file belongs in a bundle: ${name.slice(0, 100)}`);
    if (index <= place) throw new Unreadable(`${name} stands twice or out of order`);
    if (block[156] !== 0x30 && block[156] !== 0) throw new Unreadable(`${name} is no file`);
    const size = octal(block, 124, 136);
    if (at + size > bytes.length) throw new Unreadable(`${name} is cut off`);
    files.set(name, bytes.subarray(at, at + size));
    at += Math.ceil(size / BLOCK) * BLOCK;
    place = index;
  }
  if (at + BLOCK > bytes.length) throw new Unreadable('the archive has no end');
  if (bytes.subarray(at).some((byte) => byte !== 0))
    throw new Unreadable('there are bytes behind the end of the archive');
  return files;
}
