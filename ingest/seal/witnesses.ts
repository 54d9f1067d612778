/**
 * The log's side of its witnesses: one client each, which asks for a cosignature on the committed
 * head, proves that it goes on from what the witness saw last, and rests when it gets no answer.
 */
import {
  CHECKPOINT_PATH,
  type Checkpoint,
  type Clock,
  checkpointText,
  consistencyProof,
  type Log,
  type Meter,
  type NoteSignature,
  parseCheckpointText,
  parseNote,
  parseSignatures,
  TileError,
  type TileFetch,
  tileReader,
  type VerifierKey,
  verifyNoteSignature,
} from '#schemas';
import { ADD_CHECKPOINT_PATH, formatAddCheckpoint, parseSize } from './add-checkpoint.ts';

/** How long the publication of a head waits for a witness. */
export const WITNESS_MS = 5_000;
/** The first and the longest rest of a witness that gave no cosignature. */
const REST_MS = 1_000;
const REST_MS_MAX = 60_000;
/** A cosignature says "the largest head as of then": it is asked for anew when it is so old. */
export const RECOSIGN_MS = 600_000;

/** One request; rejects when there is no answer within `timeoutMs`. */
export type Post = (
  url: string,
  body: string,
  timeoutMs: number,
) => Promise<{ readonly status: number; readonly body: string }>;

export interface WitnessAddress {
  /** The submission prefix, without a slash at its end. */
  readonly url: string;
  readonly key: VerifierKey;
}

export interface WitnessClient {
  readonly name: string;
  /** The cosignature line on this head; undefined where there is none now. Never rejects. */
  cosign(head: Checkpoint, note: string): Promise<string | undefined>;
}

export interface WitnessDeps {
  readonly post: Post;
  readonly read: TileFetch;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  readonly timeoutMs?: number;
}

/** Why there is no cosignature. `refused`: the witness saw what this log can't go on from. */
class NoCosignature extends Error {
  readonly refused: boolean;
  constructor(what: string, refused: boolean) {
    super(what);
    this.refused = refused;
  }
}

export function createWitnessClient(address: WitnessAddress, deps: WitnessDeps): WitnessClient {
  const { post, read, clock, log, meter } = deps;
  const { key, url } = address;
  const timeoutMs = deps.timeoutMs ?? WITNESS_MS;
  const nowMs = () => Number(clock.monotonicNs() / 1_000_000n);
  const isMine = ({ name, id }: NoteSignature) => name === key.name && id === key.id;
  /** What the witness cosigned last, as far as we know. */
  let size = 0;
  let have: { readonly text: string; readonly line: string; readonly atMs: number } | undefined;
  let failures = 0;
  let restUntilMs = 0;
  let reported = '';
  let recovered = false;

  /** What the published checkpoint tells of it: a restart must not lose a cosignature. */
  async function recover(): Promise<void> {
    recovered = true;
    const bytes = await read(CHECKPOINT_PATH);
    const note = bytes === undefined ? undefined : parseNote(bytes);
    if (!note?.ok) return;
    const { text, signatures } = note.value;
    const mine = signatures.find(isMine);
    const checkpoint = parseCheckpointText(text);
    if (mine === undefined || !checkpoint.ok) return;
    if (verifyNoteSignature(text, mine, key) === undefined) return;
    size = checkpoint.value.size;
    have = { text, line: mine.line, atMs: Number.NEGATIVE_INFINITY };
  }

  async function ask(head: Checkpoint, note: string, retry: boolean): Promise<string> {
    const proof = await consistencyProof(size, head.size, tileReader(head.size, read));
    const body = formatAddCheckpoint(size, proof, note);
    const answer = await post(`${url}${ADD_CHECKPOINT_PATH}`, body, timeoutMs);
    if (answer.status === 200) return answer.body;
    if (answer.status !== 409) {
      const refused = [403, 404, 422].includes(answer.status);
      throw new NoCosignature(`it answers ${answer.status}`, refused);
    }
    const seen = answer.body.endsWith('\n') ? parseSize(answer.body.slice(0, -1)) : undefined;
    if (seen === undefined) throw new NoCosignature('its 409 names no size', false);
    if (seen > head.size)
      throw new NoCosignature(`it saw ${seen} leaves where the log has ${head.size}`, true);
    if (!retry) throw new NoCosignature('its size changes while it is asked', false);
    size = seen;
    return ask(head, note, false);
  }

  function lineOf(text: string, answer: string): string {
    const signatures = parseSignatures(answer);
    if (!signatures.ok) throw new NoCosignature(signatures.what, false);
    const mine = signatures.value.find(isMine);
    if (mine === undefined || verifyNoteSignature(text, mine, key) === undefined)
      throw new NoCosignature('its answer is not its cosignature', true);
    return mine.line;
  }

  function report(error: unknown): void {
    failures++;
    restUntilMs = nowMs() + Math.min(REST_MS_MAX, REST_MS * 2 ** Math.min(failures - 1, 10));
    meter.count('telltale.seal.witness_failures', 1);
    const what = error instanceof Error ? error.message : String(error);
    // The same failure again is the same story.
    if (what === reported) return;
    reported = what;
    const fields = { witness: key.name, error: what.slice(0, 300) };
    const ours = error instanceof TileError || (error instanceof NoCosignature && error.refused);
    if (ours) log.error('seal.witness_refused', fields);
    else log.warn('seal.witness_away', fields);
  }

  async function cosign(head: Checkpoint, note: string): Promise<string | undefined> {
    const text = checkpointText(head);
    if (!recovered) await recover().catch(report);
    if (have?.text === text && nowMs() - have.atMs < RECOSIGN_MS) return have.line;
    const stale = have?.text === text ? have.line : undefined;
    if (nowMs() < restUntilMs) return stale;
    try {
      const line = lineOf(text, await ask(head, note, true));
      [size, have] = [head.size, { text, line, atMs: nowMs() }];
      if (reported !== '') log.info('seal.witness_back', { witness: key.name, size });
      [failures, restUntilMs, reported] = [0, 0, ''];
      meter.gauge('telltale.seal.cosigned_time', Number(clock.wallNs() / 1_000_000n) / 1000);
      return line;
    } catch (error) {
      report(error);
      return stale;
    }
  }

  return { name: key.name, cosign };
}
