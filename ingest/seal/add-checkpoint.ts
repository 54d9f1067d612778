/**
 * The request and the answers of C2SP tlog-witness, `POST /add-checkpoint`:
 *
 *     request    "old" SP size LF (base64(hash) LF){0,63} LF checkpoint
 *     200        signature lines, each of the witness's cosignatures
 *     409        the size that the witness cosigned last, LF; text/x.tlog.size
 *     400 403 404 422    malformed or shrinking; not signed by the log; unknown log; no such proof
 */
import {
  HASH_BYTES,
  type Hash,
  NOTE_BYTES_MAX,
  type Note,
  type Parsed,
  PROOF_HASHES_MAX,
  parseNote,
} from '#schemas';

export const ADD_CHECKPOINT_PATH = '/add-checkpoint';
export const SIZE_CONTENT_TYPE = 'text/x.tlog.size';
/** The longest request: the lines of the proof, and the note. */
export const REQUEST_BYTES_MAX = NOTE_BYTES_MAX + 8 * 1024;

export interface AddCheckpoint {
  readonly oldSize: number;
  readonly proof: readonly Hash[];
  readonly note: Note;
}

/** The body of a request; `note` is the checkpoint as the log signed it. */
export function formatAddCheckpoint(oldSize: number, proof: readonly Hash[], note: string): string {
  const hashes = proof.map((hash) => `${hash.toString('base64')}\n`).join('');
  return `old ${oldSize}\n${hashes}\n${note}`;
}

/** A size in decimal, as the protocol writes it; undefined where it is none, or beyond 2^53 - 1. */
export function parseSize(text: string): number | undefined {
  const size = Number(text);
  return /^(0|[1-9]\d{0,15})$/.test(text) && Number.isSafeInteger(size) ? size : undefined;
}

function parseHash(line: string): Hash | undefined {
  const hash = Buffer.from(line, 'base64');
  return hash.length === HASH_BYTES && hash.toString('base64') === line ? hash : undefined;
}

/** Reads a request; nothing is verified. Never throws. */
export function parseAddCheckpoint(body: Uint8Array): Parsed<AddCheckpoint> {
  const bad = (what: string): Parsed<never> => ({ ok: false, what });
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const end = bytes.indexOf('\n\n');
  if (end < 0) return bad('no empty line parts the proof and the checkpoint');
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\n');
  const oldSize = first.startsWith('old ') ? parseSize(first.slice(4)) : undefined;
  if (oldSize === undefined) return bad('the first line is not "old SIZE"');
  if (lines.length > PROOF_HASHES_MAX) return bad(`a proof has at most ${PROOF_HASHES_MAX} lines`);
  const proof = lines.map(parseHash);
  const wrong = proof.indexOf(undefined);
  if (wrong >= 0) return bad(`line ${wrong + 1} of the proof is not a hash in base64`);
  const note = parseNote(bytes.subarray(end + 2));
  if (!note.ok) return note;
  return { ok: true, value: { oldSize, proof: proof as Hash[], note: note.value } };
}
