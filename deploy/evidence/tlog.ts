/** A session's part of the transparency log: its leaves with their proofs, made from public files. */
import {
  CHECKPOINT_PATH,
  encodeHead,
  type Head,
  inclusionProof,
  parseCheckpointText,
  parseNote,
  type TileFetch,
  tileReader,
} from '#schemas';
import { type Leaf, walkHeads } from '../../ingest/seal/walk.ts';
import { LEAVES_MAX } from '../../schemas/evidence/format.ts';
import type { LogPart } from '../../schemas/evidence/write.ts';

/** The longest file of a log that is read: a full tile of the longest entries, and some. */
const FILE_BYTES_MAX = 20 * 1024 ** 2;
const ANSWER_MS_MAX = 60_000;

/** Reads files of the log below a server's `/tlog/`; undefined where there is none of a name. */
export function tlogFetch(base: URL): TileFetch {
  return async (path) => {
    const url = new URL(`/tlog/${path}`, base);
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const response = await fetch(url, { signal, redirect: 'error' });
    if (response.status === 404) {
      await response.body?.cancel();
      return undefined;
    }
    if (!response.ok) throw new Error(`${url}: the server answers ${response.status}`);
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of response.body ?? []) {
      bytes += part.length;
      if (bytes > FILE_BYTES_MAX) throw new Error(`${url}: longer than ${FILE_BYTES_MAX} bytes`);
      parts.push(part);
    }
    return Buffer.concat(parts);
  };
}

export interface TreeHead {
  readonly note: string;
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** The log's head as it stands; undefined where there is no log. Throws where it is no head. */
export async function readTreeHead(fetch: TileFetch): Promise<TreeHead | undefined> {
  const bytes = await fetch(CHECKPOINT_PATH);
  if (bytes === undefined) return undefined;
  const note = parseNote(bytes);
  const head = note.ok ? parseCheckpointText(note.value.text) : note;
  if (!head.ok) throw new Error(`the log’s checkpoint can’t be read: ${head.what}`);
  return { note: Buffer.from(bytes).toString(), ...head.value };
}

/** The leaves of one session in the tree of `size`, in order. */
export async function leavesOf(
  session: { readonly tenant: string; readonly session_id: string },
  size: number,
  fetch: TileFetch,
): Promise<Leaf[]> {
  const found: Leaf[] = [];
  for await (const leaf of walkHeads(size, fetch)) {
    const { tenant, session_id } = leaf.head;
    if (session_id !== session.session_id || tenant !== session.tenant) continue;
    found.push(leaf);
    if (found.length > LEAVES_MAX)
      throw new Error(`the log has more than ${LEAVES_MAX} leaves of it`);
  }
  return found;
}

/** Leaves with their proofs, as a bundle has them. */
export async function logPart(
  head: TreeHead,
  leaves: readonly Leaf[],
  fetch: TileFetch,
): Promise<LogPart> {
  const read = tileReader(head.size, fetch);
  const proofs = [];
  for (const leaf of leaves)
    proofs.push({
      index: leaf.index,
      leaf: encodeHead(leaf.head).toString(),
      proof: await inclusionProof(leaf.index, head.size, read),
    });
  return { origin: head.origin, size: head.size, note: head.note, proofs };
}

/** Whether the log vouches for each stream from its first event on, and for the end of each. */
export function isSealed(
  streams: readonly { readonly stream: string; readonly closedAt: number | undefined }[],
  heads: readonly Head[],
): boolean {
  const has = (stream: string, seq: number) =>
    heads.some((head) => head.stream_id === stream && head.seq === seq);
  return streams.every(
    ({ stream, closedAt }) => has(stream, 0) && (closedAt === undefined || has(stream, closedAt)),
  );
}
