/**
 * An independent witness (C2SP tlog-witness). It knows the keys of some logs and, of each, the
 * newest tree head that it cosigned; it cosigns another only with a proof that the tree it saw is a
 * prefix of the new one. So a log that was cut, rolled back or written anew gets no cosignature any
 * more. What it cosigned is on the disk before it answers.
 */
import { createHash } from 'node:crypto';
import {
  type Clock,
  cosign,
  EMPTY_ROOT,
  formatNote,
  HTTP_STATUSES,
  type Log,
  labelOf,
  type Meter,
  openCheckpoint,
  parseCheckpointText,
  type SignedCheckpoint,
  type SignerKey,
  type VerifierKey,
  verifyConsistency,
  verifyNote,
} from '#schemas';
import { type AddCheckpoint, parseAddCheckpoint } from './add-checkpoint.ts';
import { type LogFiles, replaceFile } from './files.ts';
import { LogError } from './log.ts';

export interface WitnessServiceDeps {
  readonly files: LogFiles;
  readonly key: SignerKey;
  /** Its keys from before, which cosign beside it. */
  readonly previous?: readonly SignerKey[];
  /** The keys of the logs that it cosigns; a key's name is the log's origin, which may have several. */
  readonly logs: readonly VerifierKey[];
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
}

/** What is answered, as HTTP has it. `size` stands in a 409. */
export type Answer =
  | { readonly status: 200; readonly body: string }
  | { readonly status: 409; readonly size: number }
  | { readonly status: 400 | 403 | 404 | 422; readonly what: string };

export interface WitnessService {
  /** Answers one request. Rejects only when what was cosigned could not be kept. */
  add(body: Uint8Array): Promise<Answer>;
  /** The newest note that it cosigned of a log, by `originHash`; undefined where there is none. */
  latest(hash: string): string | undefined;
}

/** How an origin is named in a URL and on the disk. */
export const originHash = (origin: string): string =>
  createHash('sha256').update(origin).digest('hex');

interface Seen {
  readonly keys: readonly VerifierKey[];
  checkpoint: SignedCheckpoint | undefined;
  note: string | undefined;
  /** Requests for one log are worked off one after the other. */
  turn: Promise<unknown>;
}

const refused = (status: 400 | 403 | 404 | 422, what: string): Answer => ({ status, what });

/** Whether the tree of a request goes on from the one that was seen. */
function judge(request: AddCheckpoint, next: SignedCheckpoint, seen: Seen): Answer | undefined {
  const { oldSize, proof } = request;
  const last = seen.checkpoint;
  if (oldSize > next.size) return refused(400, 'the old size is beyond the checkpoint’s');
  if (oldSize !== (last?.size ?? 0)) return { status: 409, size: last?.size ?? 0 };
  if (next.size === 0 && !next.root.equals(EMPTY_ROOT))
    return refused(422, 'an empty tree has another root');
  const root = last?.root ?? EMPTY_ROOT;
  if (!verifyConsistency(oldSize, next.size, proof, root, next.root))
    return refused(422, 'the proof does not show that the tree went on');
  return undefined;
}

/** What this witness cosigned of a log before, by whichever key the log and it had then. */
function openKept(bytes: Buffer, keys: readonly VerifierKey[], own: readonly VerifierKey[]) {
  const [first, ...others] = keys.map((key) => openCheckpoint(bytes, key, own));
  return others.find(({ ok }) => first?.ok === false && ok) ?? (first as NonNullable<typeof first>);
}

/** Reads what was cosigned before. Rejects with `LogError` for a file that is not its own. */
async function recover(deps: WitnessServiceDeps): Promise<Map<string, Seen>> {
  const logs = new Map<string, Seen>();
  const own = [deps.key, ...(deps.previous ?? [])].map(({ verifier }) => verifier);
  for (const origin of new Set(deps.logs.map(({ name }) => name))) {
    const keys = deps.logs.filter(({ name }) => name === origin);
    const name = originHash(origin);
    const bytes = await deps.files.read(name);
    let checkpoint: SignedCheckpoint | undefined;
    if (bytes !== undefined) {
      const opened = openKept(bytes, keys, own);
      if (!opened.ok) throw new LogError(`${name}, of ${origin}: ${opened.what}`);
      if (opened.value.cosignatures.length === 0)
        throw new LogError(`${name}, of ${origin}: this witness did not cosign it`);
      checkpoint = opened.value;
    }
    logs.set(origin, { keys, checkpoint, note: bytes?.toString(), turn: Promise.resolve() });
  }
  return logs;
}

export async function createWitness(deps: WitnessServiceDeps): Promise<WitnessService> {
  const { files, clock, log, meter } = deps;
  const keys = [deps.key, ...(deps.previous ?? [])];
  const logs = await recover(deps);

  async function cosignNext(seen: Seen, next: SignedCheckpoint): Promise<Answer> {
    const seconds = Number(clock.wallNs() / 1_000_000_000n);
    const { text, signatures } = next.note;
    const lines = keys.map((key) => cosign(text, key, seconds));
    const note = formatNote(text, [...signatures.map(({ line }) => line), ...lines]);
    await replaceFile(files, originHash(next.origin), Buffer.from(note));
    [seen.checkpoint, seen.note] = [next, note];
    meter.gauge('telltale.witness.cosigned_time', seconds);
    log.debug('witness.cosigned', { origin: next.origin, size: next.size });
    return { status: 200, body: lines.map((line) => `${line}\n`).join('') };
  }

  async function decide(request: AddCheckpoint, seen: Seen): Promise<Answer> {
    const verified = verifyNote(request.note, seen.keys);
    if (!verified.ok) return refused(403, verified.what);
    const [signed] = verified.value;
    if (signed === undefined) return refused(403, 'it is not signed by the log’s key');
    const opened = openCheckpoint(
      formatNote(
        request.note.text,
        verified.value.map(({ line }) => line),
      ),
      signed.key,
    );
    if (!opened.ok) return refused(400, opened.what);
    const next = opened.value;
    const answer = judge(request, next, seen);
    if (answer === undefined) return cosignNext(seen, next);
    if (answer.status === 422) {
      // It is signed by the log and does not go on from what the log showed before: evidence.
      const { origin, size } = next;
      const root = next.root.toString('hex');
      log.error('witness.inconsistent', { origin, size, root, seen: seen.checkpoint?.size });
    }
    return answer;
  }

  async function add(body: Uint8Array): Promise<Answer> {
    const request = parseAddCheckpoint(body);
    if (!request.ok) return refused(400, request.what);
    const checkpoint = parseCheckpointText(request.value.note.text);
    if (!checkpoint.ok) return refused(400, checkpoint.what);
    const seen = logs.get(checkpoint.value.origin);
    if (seen === undefined) return refused(404, 'this witness does not know the log');
    const mine = seen.turn.then(() => decide(request.value, seen));
    seen.turn = mine.catch(() => {});
    const answer = await mine;
    meter.count('telltale.witness.answers', 1, {
      status: labelOf(HTTP_STATUSES, String(answer.status)),
    });
    return answer;
  }

  const byHash = new Map([...logs].map(([origin, seen]) => [originHash(origin), seen]));
  return { add, latest: (hash) => byHash.get(hash)?.note };
}
