/**
 * What an imported session is called. Its ids follow from what was imported, so that the same files
 * are the same session and the same stream: a second import finds every number taken.
 */
import { createHash } from 'node:crypto';
import type { Draft } from '#schemas';

export interface ImportedFile {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

const NS_PER_MS = 1_000_000n;

/** A UUIDv7 (RFC 9562) with the time of `ns` and bits of a digest in place of random ones. */
function uuidOf(ns: bigint, digest: Buffer): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(Number(ns / NS_PER_MS), 0, 6);
  digest.copy(bytes, 6, 0, 10);
  bytes.writeUInt8(((bytes[6] ?? 0) & 0x0f) | 0x70, 6);
  bytes.writeUInt8(((bytes[8] ?? 0) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  const cuts = [0, 8, 12, 16, 20, 32];
  return cuts
    .slice(1)
    .map((end, index) => hex.slice(cuts[index], end))
    .join('-');
}

/** The ids of the session and stream that `files` make for a tenant. */
export function importedIds(
  tenant: string,
  files: readonly ImportedFile[],
  drafts: readonly Draft[],
): { readonly session: string; readonly stream: string } {
  const first = drafts.reduce<string | undefined>(
    (min, { ts }) => (min === undefined || BigInt(ts) < BigInt(min) ? ts : min),
    undefined,
  );
  const ns = BigInt(first ?? '0');
  const digests = files.map(({ sha256 }) => sha256).sort();
  const digest = (what: string) =>
    createHash('sha256')
      .update(JSON.stringify([what, tenant, ...digests]))
      .digest();
  return { session: uuidOf(ns, digest('session')), stream: uuidOf(ns, digest('stream')) };
}

/** What was imported, for the settings of session.open. */
export function importedSettings(files: readonly ImportedFile[]): Record<string, string> {
  const out: Record<string, string> = { 'import.files': String(files.length) };
  files.forEach(({ name, sha256, bytes }, index) => {
    out[`import.${index}.name`] = name;
    out[`import.${index}.sha256`] = sha256;
    out[`import.${index}.bytes`] = String(bytes);
  });
  return out;
}
