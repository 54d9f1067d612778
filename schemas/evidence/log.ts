/**
 * The log's part of a bundle: the signed note, and the leaves about this session that are proven to
 * be under its root. What is proven here is compared with the events by `streams.ts`.
 */
import { type Head, parseHead } from '../head.ts';
import { leafHash, verifyInclusion } from '../merkle.ts';
import {
  parseCheckpointText,
  parseNote,
  type VerifierKey,
  verifyNote,
  verifyNoteSignature,
} from '../note.ts';
import type { Findings } from './findings.ts';
import {
  CHECKPOINT,
  hasKeys,
  isCount,
  isHash,
  isSeq,
  isText,
  LEAVES_MAX,
  type Manifest,
  PROOFS,
  UnreadableError,
} from './format.ts';
import { canonicalJson, type JsonObject, parseObject } from './json.ts';
import type { Lines } from './lines.ts';

/** A leaf that is proven to be in the log. */
export interface ProvenLeaf {
  readonly leaf: Head;
  readonly index: number;
  /** Its line in the bundle. */
  readonly line: number;
}

/** The line of a proof. */
export const proofText = (index: number, leaf: string, proof: readonly Uint8Array[]): string =>
  `${canonicalJson({ index, leaf, proof: proof.map((hash) => Buffer.from(hash).toString('hex')) })}\n`;

export interface LogKeys {
  readonly logKeys: readonly VerifierKey[];
  readonly witnesses: readonly VerifierKey[];
}

/** A log’s head, as a signed note has it. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

const NOTE = { file: CHECKPOINT } as const;

/**
 * Compares the tree head with one that was seen earlier: a log only grows, so a smaller one, or
 * another root at the same size, is not the log that it was.
 */
export function checkKnown(head: TreeHead, known: TreeHead, findings: Findings): void {
  const fault = (what: string) => findings.fault({ code: 'log_rolled_back', ...NOTE, what });
  if (head.size < known.size) fault('the log was larger when its head was seen before');
  else if (head.size === known.size && Buffer.compare(head.root, known.root) !== 0)
    fault('the log had another root when it was seen before');
}

/** Judges the note, which must be of the head that is `named`; gives it where it can be read at all. */
export function checkNote(
  bytes: Uint8Array,
  named: { readonly origin: string; readonly size: number },
  keys: LogKeys,
  findings: Findings,
): TreeHead | undefined {
  const fault = (what: string) => findings.fault({ code: 'checkpoint_note', ...NOTE, what });
  const note = parseNote(bytes);
  const parsed = note.ok ? parseCheckpointText(note.value.text) : note;
  if (!note.ok || !parsed.ok) {
    fault(note.ok && !parsed.ok ? parsed.what : 'it is not a signed note');
    missWitnesses(keys.witnesses, findings);
    return undefined;
  }
  const { origin, size, root } = parsed.value;
  const own = keys.logKeys.filter(({ name }) => name === origin);
  const signed = verifyNote(note.value, own);
  if (named.origin !== origin || named.size !== size)
    fault('it is not the log’s head that the manifest names');
  else if (keys.logKeys.length > 0 && (!signed.ok || signed.value.length === 0))
    fault('it is not signed by the log’s key that was given');
  missWitnesses(
    keys.witnesses.filter(
      (witness) =>
        !note.value.signatures.some(
          (signature) =>
            signature.name === witness.name &&
            signature.id === witness.id &&
            verifyNoteSignature(note.value.text, signature, witness) !== undefined,
        ),
    ),
    findings,
  );
  return { size, root };
}

/** Notes each witness that was asked for and did not cosign. */
export function missWitnesses(witnesses: readonly VerifierKey[], findings: Findings): void {
  for (const { name } of witnesses)
    findings.stretch({ code: 'witness', ...NOTE, what: `the witness ${name} has not cosigned it` });
}

function provenLeaf(value: JsonObject, head: TreeHead | undefined, after: number) {
  const { index, leaf: text, proof } = value;
  if (!hasKeys(value, ['index', 'leaf', 'proof']) || !isCount(index) || !isText(text))
    return undefined;
  if (index <= after || !Array.isArray(proof) || !proof.every(isHash)) return undefined;
  const bytes = Buffer.from(text);
  const leaf = parseHead(bytes);
  if (!leaf.ok || !isSeq(leaf.value.seq) || head === undefined) return undefined;
  const path = proof.map((hash) => Buffer.from(hash, 'hex'));
  const proven = verifyInclusion(leafHash(bytes), index, head.size, path, head.root);
  return proven ? { leaf: leaf.value, index } : undefined;
}

/** Reads the proofs; each that does not hold is a fault, and its leaf counts for nothing. */
export async function readProofs(
  lines: Lines,
  manifest: Manifest,
  head: TreeHead | undefined,
  findings: Findings,
): Promise<readonly ProvenLeaf[]> {
  const proven: ProvenLeaf[] = [];
  let last = -1;
  while (await lines.fill())
    for (let at = lines.peek(); at !== undefined; lines.skip(), at = lines.peek()) {
      const { line } = lines;
      const value = lines.ended ? parseObject(at) : undefined;
      if (value === undefined) {
        const what = 'the line is not canonical JSON';
        findings.fault({ code: 'line_invalid', file: PROOFS, line, what });
        continue;
      }
      const one = provenLeaf(value, head, last);
      const own =
        one?.leaf.tenant === manifest.tenant && one.leaf.session_id === manifest.session_id;
      if (one === undefined || !own) {
        const what = 'no leaf of this session is proven to be in the log by it';
        findings.fault({ code: 'proof_invalid', file: PROOFS, line, what });
        continue;
      }
      if (proven.length >= LEAVES_MAX)
        throw new UnreadableError(`${PROOFS} has more than ${LEAVES_MAX} leaves`);
      proven.push({ ...one, line });
      last = one.index;
    }
  return proven;
}
