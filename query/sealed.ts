/**
 * The transparency log beside a session's events: the head that vouches for one, and the proof that the
 * published tree holds that head. The log is read through its public files (`ingest/seal/README.md`), and
 * nothing that it says is taken for true: a proof is verified before it is given, and the head is compared
 * with the event that it is of. Where there is none, the reason is said.
 */
import {
  CHECKPOINT_PATH,
  type Clock,
  encodeHead,
  type Head,
  inclusionProof,
  leafHash,
  parseCheckpointText,
  parseHead,
  parseNote,
  readEntries,
  TILE_WIDTH,
  TileError,
  type TileFetch,
  tileReader,
  verifyInclusion,
} from '#schemas';
import type { Sealable } from './timeline/proofs.ts';

/** The most heads whose places are kept, some 100 bytes each. */
const HEADS_MAX = 1_000_000;
/** How long a request waits for heads that were not read yet. */
const WAIT_MS = 2_000;

/** `none` has its `reason` alone; `included` all else. */
export interface LogProof {
  readonly status: 'included' | 'contradicted' | 'none';
  readonly reason: string;
  /** The head's own canonical JSON: the leaf's bytes. */
  readonly leaf?: string;
  readonly index?: number;
  /** The signed tree head, a C2SP note, with the cosignatures of witnesses. */
  readonly checkpoint?: string;
  readonly treeSize?: number;
  /** The audit path of RFC 6962 from the leaf's sibling upwards, in hex. */
  readonly hashes?: readonly string[];
}

export interface SealedLog {
  proofOf(event: Sealable): Promise<LogProof>;
}

const none = (reason: string): LogProof => ({ status: 'none', reason });
const keyOf = (tenant: string, sessionId: string, streamId: string): string =>
  JSON.stringify([tenant, sessionId, streamId]);

interface Place {
  readonly seq: number;
  readonly index: number;
}

/** Where the heads of each stream lie; read on where the log has grown. */
function createPlaces(fetch: TileFetch) {
  const byStream = new Map<string, Place[]>();
  let read = 0;
  let reading: Promise<void> | undefined;

  async function readOn(size: number): Promise<void> {
    while (read < Math.min(size, HEADS_MAX)) {
      const tile = Math.floor(read / TILE_WIDTH);
      const width = Math.min(TILE_WIDTH, size - tile * TILE_WIDTH);
      const entries = await readEntries(tile, width, fetch);
      for (const [at, entry] of entries.entries()) {
        const index = tile * TILE_WIDTH + at;
        if (index < read) continue;
        const head = parseHead(entry);
        if (!head.ok) throw new TileError(`entry ${index}`, head.what);
        const { tenant, session_id: session, stream_id: stream, seq } = head.value;
        const key = keyOf(tenant, session, stream);
        const places = byStream.get(key);
        if (places === undefined) byStream.set(key, [{ seq, index }]);
        else places.push({ seq, index });
        read = index + 1;
      }
    }
  }
  return {
    /** Reads up to `size`, one at a time however many ask. */
    async upTo(size: number): Promise<void> {
      while (read < Math.min(size, HEADS_MAX)) {
        reading ??= readOn(size).finally(() => {
          reading = undefined;
        });
        await reading;
      }
    },
    get read() {
      return read;
    },
    /** The first head at or behind an event: it vouches for all before it. */
    covering: (key: string, seq: number): Place | undefined =>
      (byStream.get(key) ?? [])
        .filter((place) => place.seq >= seq)
        .sort((a, b) => a.seq - b.seq || a.index - b.index)[0],
  };
}

/** What of a head is not what the store has; undefined where nothing is. */
function contradiction(head: Head, { stored }: Sealable): string | undefined {
  const event = stored(head.seq);
  if (event === undefined)
    return `the log holds a head at number ${head.seq}, and the store has no such event`;
  if (event.digest !== head.event_digest)
    return `the event at number ${head.seq} is not the one that the log vouches for`;
  if (event.chainHead !== undefined && event.chainHead !== head.chain_head)
    return `the checkpoint at number ${head.seq} has another chain than the log`;
  return undefined;
}

/** Reads the log through `fetch`, which gives its files, a part at a time, as they are needed. */
export function createSealedLog(fetch: TileFetch, clock: Pick<Clock, 'sleep'>): SealedLog {
  const places = createPlaces(fetch);

  async function proofOf(event: Sealable): Promise<LogProof> {
    const bytes = await fetch(CHECKPOINT_PATH);
    if (bytes === undefined) return none('the log has published no checkpoint yet');
    const note = parseNote(bytes);
    const tree = note.ok ? parseCheckpointText(note.value.text) : note;
    if (!tree.ok) return none(`the log’s checkpoint can’t be read: ${tree.what}`);
    const { size, root } = tree.value;
    await Promise.race([places.upTo(size), clock.sleep(WAIT_MS)]);
    const key = keyOf(event.tenant, event.sessionId, event.streamId);
    const place = places.covering(key, event.seq);
    if (place === undefined || place.index >= size)
      return none(
        places.read < size
          ? `the log is still being read: ${places.read} of ${size} heads (at most ${HEADS_MAX})`
          : `the log holds no head of the stream at or behind number ${event.seq} yet`,
      );
    const { index } = place;
    const tile = Math.floor(index / TILE_WIDTH);
    const width = Math.min(TILE_WIDTH, size - tile * TILE_WIDTH);
    const leaf = (await readEntries(tile, width, fetch))[index % TILE_WIDTH] as Buffer;
    const head = parseHead(leaf);
    if (!head.ok) return none(`the log’s entry ${index} is no head: ${head.what}`);
    const hashes = await inclusionProof(index, size, tileReader(size, fetch));
    if (!verifyInclusion(leafHash(leaf), index, size, hashes, root))
      return none(`the log’s files do not prove its entry ${index} under its checkpoint`);
    const wrong = contradiction(head.value, event);
    return {
      status: wrong === undefined ? 'included' : 'contradicted',
      reason: wrong ?? `the head at number ${head.value.seq} vouches for it`,
      leaf: encodeHead(head.value).toString(),
      index,
      checkpoint: Buffer.from(bytes).toString(),
      treeSize: size,
      hashes: hashes.map((hash) => hash.toString('hex')),
    };
  }

  return {
    proofOf: (event) =>
      proofOf(event).catch((error: unknown) => {
        if (error instanceof TileError) return none(`the log is at fault: ${error.message}`);
        return none('the log can’t be read at the moment');
      }),
  };
}
