/**
 * Signed notes (C2SP signed-note), checkpoints of a log (C2SP tlog-checkpoint), cosignatures (C2SP
 * tlog-cosignature) and RFC 6962 inclusion proofs, for the second verifier. node:crypto only.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';

const sha = (...parts: (Buffer | string)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Whether `signature` (64 bytes) of the raw Ed25519 key is over `message`. */
export function signedBy(key: Buffer, message: Buffer, signature: Buffer): boolean {
  if (key.length !== 32 || signature.length !== 64) return false;
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key]);
  return verify(
    null,
    message,
    createPublicKey({ key: der, format: 'der', type: 'spki' }),
    signature,
  );
}

interface Key {
  readonly name: string;
  readonly id: Buffer;
  readonly type: number;
  readonly raw: Buffer;
}

/** `NAME+HASH+BASE64`; throws for what is none. */
export function parseKey(vkey: string): Key {
  const [, name, hash, rest] = /^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? [];
  const bytes = Buffer.from(rest ?? '', 'base64');
  const type = bytes[0] ?? 0;
  const id = sha(`${name}\n`, bytes).subarray(0, 4);
  const known = (type === 1 || type === 4) && bytes.length === 33;
  if (name === undefined || !known || id.toString('hex') !== hash)
    throw new Error(`not a verifier key: ${vkey}`);
  return { name, id, type, raw: bytes.subarray(1) };
}

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  /** Whether a key stands below it, with a good signature. */
  readonly signedBy: (vkey: string) => boolean;
}

/** The checkpoint in a note; undefined where it is none. */
export function parseCheckpoint(bytes: Buffer): Checkpoint | undefined {
  const note = bytes.toString('utf8');
  if (!Buffer.from(note, 'utf8').equals(bytes)) return undefined;
  const cut = note.lastIndexOf('\n\n');
  if (cut < 0 || !note.endsWith('\n')) return undefined;
  const body = note.slice(0, cut + 1);
  const lines = note.slice(cut + 2, -1).split('\n');
  const [origin, size, root] = body.split('\n');
  if (
    !origin ||
    !/^(?:0|[1-9]\d{0,14})$/.test(size ?? '') ||
    !/^[A-Za-z0-9+/]{43}=$/.test(root ?? '')
  )
    return undefined;
  const parsed = lines.map((line) => /^— (\S+) ([A-Za-z0-9+/]+={0,2})$/.exec(line));
  const isCanonical = (text: string) => Buffer.from(text, 'base64').toString('base64') === text;
  if (parsed.some((one) => one === null || !isCanonical(one[2] as string))) return undefined;
  if (!isCanonical(root as string)) return undefined;
  const signatures = parsed.map((one) => ({
    name: one?.[1] as string,
    bytes: Buffer.from(one?.[2] as string, 'base64'),
  }));
  const good = (vkey: string): boolean => {
    const key = parseKey(vkey);
    return signatures.some(({ name, bytes: signature }) => {
      if (name !== key.name || !signature.subarray(0, 4).equals(key.id)) return false;
      if (key.type === 1) return signedBy(key.raw, Buffer.from(body), signature.subarray(4));
      if (signature.length !== 76) return false;
      const time = signature.readBigUInt64BE(4);
      const message = Buffer.from(`cosignature/v1\ntime ${time}\n${body}`);
      return signedBy(key.raw, message, signature.subarray(12));
    });
  };
  return {
    origin,
    size: Number(size),
    root: Buffer.from(root as string, 'base64'),
    signedBy: good,
  };
}

/** RFC 9162, 2.1.3.2: whether the path leads from the leaf to the root. */
export function leadsToRoot(
  leaf: string,
  index: number,
  size: number,
  path: readonly Buffer[],
  root: Buffer,
): boolean {
  if (index >= size) return false;
  let fn = BigInt(index);
  let sn = BigInt(size - 1);
  let hash = sha(Buffer.from([0]), leaf);
  for (const sibling of path) {
    if (sn === 0n) return false;
    if (fn % 2n === 1n || fn === sn) {
      hash = sha(Buffer.from([1]), sibling, hash);
      while (fn % 2n === 0n && fn !== 0n) {
        fn /= 2n;
        sn /= 2n;
      }
    } else hash = sha(Buffer.from([1]), hash, sibling);
    fn /= 2n;
    sn /= 2n;
  }
  return sn === 0n && hash.equals(root);
}
