/**
 * The verifier of a bundle: three verdicts, each with the first place where it fails. It reads each
 * file once, side by side where two are in the same order, in memory that does not grow with the
 * session; nothing in a bundle is trusted, and only `UnreadableError` is thrown for what is in it.
 */
import type { VerifierKey } from '../note.ts';
import type { Ranges } from '../ranges.ts';
import { createCustodyReader, type Erasure } from './custody.ts';
import { readDeadLetters } from './dead-letters.ts';
import { createEventReader, type EventLine } from './event-line.ts';
import { checkManifest, expectedCustody } from './expected.ts';
import { createFindings, type Findings } from './findings.ts';
import {
  BLOBS,
  type BundleSource,
  CHECKPOINT,
  CUSTODY,
  DEAD,
  EVENTS,
  type FileFacts,
  type FileName,
  MANIFEST,
  MANIFEST_BYTES_MAX,
  type Manifest,
  NO_LOG,
  PROOFS,
  parseManifest,
  STREAMS_MAX,
  UnreadableError,
} from './format.ts';
import { createLines, type Lines } from './lines.ts';
import {
  checkKnown,
  checkNote,
  missWitnesses,
  type ProvenLeaf,
  readProofs,
  type TreeHead,
} from './log.ts';
import { createOpenings } from './openings.ts';
import {
  type Anchor,
  assuranceReport,
  completenessReport,
  integrityReport,
  type Report,
  type StreamAccount,
} from './report.ts';
import { accountWith, createStreamCheck, type StreamResult } from './stream-check.ts';

/** The longest note that a log writes, with room for its cosignatures. */
const NOTE_BYTES_MAX = 256 * 1024;

export interface VerifyOptions {
  readonly logKeys?: readonly VerifierKey[];
  readonly witnesses?: readonly VerifierKey[];
  /** A head of the log that was seen before, by whoever asks: it must not have shrunk since. */
  readonly known?: TreeHead;
  /** What the bundle's own SHA-256 is, and must be, where the caller knows. */
  readonly sha256?: { readonly is: string; readonly mustBe: string };
}

async function readWhole(source: BundleSource, name: FileName, max: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source.read(name)) {
    bytes += chunk.length;
    if (bytes > max) throw new UnreadableError(`${name} is longer than ${max} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

async function* none(): AsyncIterable<Uint8Array> {}

type Leaves = ReadonlyMap<string, ReadonlyMap<number, readonly ProvenLeaf[]>>;

function byStream(leaves: readonly ProvenLeaf[]): Leaves {
  const out = new Map<string, Map<number, ProvenLeaf[]>>();
  for (const one of leaves) {
    const { stream_id: stream, seq } = one.leaf;
    let ofStream = out.get(stream);
    if (ofStream === undefined) {
      ofStream = new Map();
      out.set(stream, ofStream);
    }
    ofStream.set(seq, [...(ofStream.get(seq) ?? []), one]);
  }
  return out;
}

interface Evidence {
  readonly manifest: Manifest;
  readonly findings: Findings;
  readonly leaves: Leaves;
  readonly parked: ReadonlyMap<string, Ranges>;
  readonly keyed: boolean;
}

interface EventsResult {
  readonly streams: readonly StreamResult[];
  readonly erased: number;
  readonly withheld: number;
  readonly withoutContent: number;
}

/** Reads events, openings and erasures side by side. */
async function checkEvents(
  evidence: Evidence,
  lines: Lines,
  blobs: Lines,
  custody: ReturnType<typeof createCustodyReader>,
): Promise<EventsResult> {
  const { manifest, findings, leaves, parked, keyed } = evidence;
  const read = createEventReader(manifest, findings);
  const openings = createOpenings(blobs, findings);
  const streams: StreamResult[] = [];
  let check: ReturnType<typeof createStreamCheck> | undefined;
  let erasure = await custody.nextErasure();
  let [erased, withheld, withoutContent] = [0, 0, 0];

  const end = () => {
    if (check !== undefined) streams.push(check.finish(parked.get(check.stream) ?? [], keyed));
  };
  const checkOf = (stream: string) => {
    if (check?.stream === stream) return check;
    end();
    if (streams.length >= STREAMS_MAX)
      throw new UnreadableError(`${EVENTS} has more than ${STREAMS_MAX} streams`);
    check = createStreamCheck(manifest, stream, leaves.get(stream) ?? new Map(), findings);
    return check;
  };
  const isBehind = (one: Erasure, { stream, seq }: EventLine) =>
    one.stream === stream ? one.seq > seq : one.stream > stream;

  /** The erasures of this event, those of none before it noted. */
  async function erasuresOf(event: EventLine): Promise<readonly Erasure[]> {
    const own: Erasure[] = [];
    while (erasure !== undefined && !isBehind(erasure, event)) {
      if (erasure.stream === event.stream && erasure.seq === event.seq) own.push(erasure);
      else custody.mismatch(erasure);
      erasure = await custody.nextErasure();
    }
    return own;
  }

  function account(event: EventLine, closed: readonly string[], own: readonly Erasure[]): void {
    if (closed.length > 0) withoutContent++;
    const gone = new Set<string>();
    for (const one of own)
      if (one.fields.every((name) => closed.includes(name)))
        for (const name of one.fields) gone.add(name);
      else custody.mismatch(one);
    erased += gone.size;
    withheld += closed.length - gone.size;
    if (manifest.content !== 'full') return;
    for (const field of closed)
      if (!gone.has(field))
        findings.fault({
          code: 'content_missing',
          file: BLOBS,
          stream_id: event.stream,
          first_seq: event.seq,
          last_seq: event.seq,
          field,
          what: 'its content is neither here nor said to be erased',
        });
  }

  while (await lines.fill())
    for (let at = lines.peek(); at !== undefined; lines.skip(), at = lines.peek()) {
      const event = read(at, lines.line, lines.ended);
      if (event === undefined) continue;
      checkOf(event.stream).add(event);
      let closed: string[] | undefined;
      for (const field of event.content) {
        const commitment = event.value[field] as string;
        let opened = openings.match(event.stream, event.seq, field, commitment);
        while (opened === undefined) {
          await openings.fill();
          opened = openings.match(event.stream, event.seq, field, commitment);
        }
        if (!opened) closed = [...(closed ?? []), field];
      }
      const concerned = erasure !== undefined && !isBehind(erasure, event);
      if (closed !== undefined || concerned)
        account(event, closed ?? [], concerned ? await erasuresOf(event) : []);
    }
  end();
  await openings.finish();
  for (; erasure !== undefined; erasure = await custody.nextErasure()) custody.mismatch(erasure);
  return { streams, erased, withheld, withoutContent };
}

/** The streams of which there is no event: of dead letters, and of leaves. */
function accountsOf(evidence: Evidence, streams: readonly StreamResult[]): StreamAccount[] {
  const accounts: StreamAccount[] = [...streams];
  const known = new Set(streams.map(({ stream }) => stream));
  for (const stream of new Set([...evidence.parked.keys(), ...evidence.leaves.keys()])) {
    if (known.has(stream)) continue;
    const parked = evidence.parked.get(stream) ?? [];
    let vouched = -1;
    for (const seq of evidence.leaves.get(stream)?.keys() ?? []) vouched = Math.max(vouched, seq);
    const completeness = accountWith({ stored: [], parked, gaps: [] }, vouched);
    accounts.push({ stream, completeness, lostAt: parked[0]?.[0] });
  }
  return accounts.sort((a, b) => (a.stream < b.stream ? -1 : 1));
}

function anchorOf(
  manifest: Manifest,
  options: VerifyOptions,
  leaves: readonly ProvenLeaf[],
  findings: Findings,
): Anchor {
  const unsound = new Set(['checkpoint_note', 'proof_invalid', 'not_in_log', 'no_events']);
  const problem = [...findings.faults, ...findings.stretches].find(({ code }) => unsound.has(code));
  const missing = [...findings.stretches].filter(({ code }) => code === 'witness').length;
  const rest = {
    ...(manifest.log === null ? {} : manifest.log),
    witnesses: (options.witnesses ?? []).length - missing,
    leaves: leaves.length,
  };
  const why =
    (options.logKeys ?? []).length === 0
      ? 'the log’s key was not given'
      : manifest.log === null
        ? NO_LOG
        : problem?.what;
  return why === undefined ? { by: 'log', ...rest } : { by: 'nothing', why, ...rest };
}

/** Verifies a bundle. Throws `UnreadableError` where it is none; says everything else as verdicts. */
export async function verifyEvidence(
  source: BundleSource,
  options: VerifyOptions = {},
): Promise<Report> {
  const findings = createFindings();
  const facts = new Map<string, FileFacts>();
  const has = (name: FileName) => source.names.includes(name);
  if (!has(MANIFEST)) throw new UnreadableError(`there is no ${MANIFEST}`);
  const manifest = parseManifest(await readWhole(source, MANIFEST, MANIFEST_BYTES_MAX));
  const linesOf = (name: FileName) => createLines(name, has(name) ? source.read(name) : none());
  const done = (name: FileName, lines: Lines) => {
    if (has(name)) facts.set(name, lines.facts());
  };
  const keys = { logKeys: options.logKeys ?? [], witnesses: options.witnesses ?? [] };

  const note = has(CHECKPOINT) ? await readWhole(source, CHECKPOINT, NOTE_BYTES_MAX) : undefined;
  if (note !== undefined) done(CHECKPOINT, await drained(CHECKPOINT, note));
  const head = note && manifest.log ? checkNote(note, manifest.log, keys, findings) : undefined;
  if (head && options.known) checkKnown(head, options.known, findings);
  if (!note || !manifest.log) missWitnesses(keys.witnesses, findings);
  const proofs = linesOf(PROOFS);
  const leaves = await readProofs(proofs, manifest, head, findings);
  done(PROOFS, proofs);
  const dead = linesOf(DEAD);
  const parked = await readDeadLetters(dead, manifest, findings);
  done(DEAD, dead);

  const keyed = keys.logKeys.length > 0;
  const evidence = { manifest, findings, leaves: byStream(leaves), parked, keyed };
  const [events, blobs, custodyLines] = [linesOf(EVENTS), linesOf(BLOBS), linesOf(CUSTODY)];
  const custody = createCustodyReader(custodyLines, manifest, findings);
  const result = await checkEvents(evidence, events, blobs, custody);
  done(EVENTS, events);
  done(BLOBS, blobs);
  const expected = expectedCustody(result.streams, leaves, manifest.tool);
  custody.compare(expected.before, expected.behind);
  done(CUSTODY, custodyLines);
  if (result.streams.length === 0)
    findings.stretch({ code: 'no_events', file: EVENTS, what: 'there is no event at all' });
  checkManifest(manifest, result, facts, findings);
  if (options.sha256 !== undefined && options.sha256.is !== options.sha256.mustBe)
    findings.fault({ code: 'bundle_altered', file: 'bundle', what: 'its SHA-256 is another one' });

  const anchor = anchorOf(manifest, options, leaves, findings);
  return {
    tenant: manifest.tenant,
    session_id: manifest.session_id,
    content: manifest.content,
    integrity: integrityReport(findings, result.streams, result.withoutContent, anchor),
    completeness: completenessReport(accountsOf(evidence, result.streams)),
    assurance: assuranceReport(result.streams),
  };
}

/** The facts of a file that was read whole. */
async function drained(name: FileName, bytes: Uint8Array): Promise<Lines> {
  const lines = createLines(
    name,
    (async function* () {
      yield bytes;
    })(),
  );
  while (await lines.fill()) while (lines.peek() !== undefined) lines.skip();
  return lines;
}
