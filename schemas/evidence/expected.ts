/** What custody and the manifest must say, given what the evidence shows. */
import type { Findings } from './findings.ts';
import {
  BLOBS,
  ERASED,
  FILE_ORDER,
  type FileFacts,
  hasKeys,
  isObject,
  isText,
  type LeftOut,
  MANIFEST,
  type Manifest,
  NO_LOG,
  WITHHELD,
} from './format.ts';
import { canonicalJson, type Json, type JsonObject } from './json.ts';
import type { ProvenLeaf } from './log.ts';
import type { StreamResult } from './stream-check.ts';

const textOf = (value: unknown): string => (isText(value) ? value : '');

/** What custody must say besides erasures: what the events and the proofs show. */
export function expectedCustody(
  streams: readonly StreamResult[],
  leaves: readonly ProvenLeaf[],
  tool: string,
): { readonly before: readonly JsonObject[]; readonly behind: readonly JsonObject[] } {
  return {
    before: [
      ...streams.map(({ stream, first, from, to }) => recordedEntry(stream, first, from, to)),
      ...streams.map(({ stream, events }) => ({ entry: 'stored', events, stream_id: stream })),
    ],
    behind: [
      ...leaves.map(({ index, leaf: { final, seq, stream_id } }) => ({
        entry: 'sealed',
        final,
        index,
        seq,
        stream_id,
      })),
      { entry: 'exported', tool },
    ],
  };
}

/** Custody's entry of a stream's recording, out of its first event. */
export function recordedEntry(
  stream: string,
  first: JsonObject,
  from: string,
  to: string,
): JsonObject {
  const { agent, host, user } = first;
  return {
    agent: textOf(agent),
    entry: 'recorded',
    from,
    host: textOf(host),
    stream_id: stream,
    to,
    user: textOf(user),
  };
}

/** What the manifest must say was left out. */
export function leftOutOf(erased: number, withheld: number, hasLog: boolean): LeftOut[] {
  const out: LeftOut[] = [];
  if (erased > 0) out.push({ count: erased, what: 'content', why: ERASED });
  if (withheld > 0) out.push({ count: withheld, what: 'content', why: WITHHELD });
  if (!hasLog) out.push({ count: 1, what: 'log', why: NO_LOG });
  return out;
}

/** Compares the manifest with the files that were read and with what they lack. */
export function checkManifest(
  manifest: Manifest,
  result: { readonly erased: number; readonly withheld: number },
  facts: ReadonlyMap<string, FileFacts>,
  findings: Findings,
): void {
  const fault = (code: string, file: string, what: string) => findings.fault({ code, file, what });
  const withheld = manifest.content === 'none' ? result.withheld : 0;
  const left = leftOutOf(result.erased, withheld, manifest.log !== null);
  const counted =
    canonicalJson(left as unknown as Json) === canonicalJson(manifest.left_out as unknown as Json);
  const denied = manifest.content === 'none' && (facts.get(BLOBS)?.bytes ?? 0) > 0;
  if (!counted || denied) fault('left_out', MANIFEST, 'it counts other than what is left out');
  const mayBe: readonly string[] = FILE_ORDER.slice(1);
  const mustBe = mayBe.filter((name) => manifest.log !== null || !name.startsWith('log/'));
  for (const name of mayBe) {
    const listed = manifest.files[name];
    const is = facts.get(name);
    if (is === undefined) {
      if (listed !== undefined || mustBe.includes(name))
        fault('file_missing', name, 'the file is not in the bundle');
    } else if (listed === undefined || !mustBe.includes(name))
      fault('file_unlisted', name, 'the manifest does not name this file');
    else if (!isSame(listed, is))
      fault('file_altered', name, 'it is not the file that the manifest names');
  }
  for (const name of Object.keys(manifest.files))
    if (!mayBe.includes(name))
      fault('file_missing', MANIFEST, 'it names a file that no bundle has');
}

const isSame = (listed: unknown, is: FileFacts): boolean =>
  isObject(listed) &&
  hasKeys(listed, ['bytes', 'lines', 'sha256']) &&
  listed.bytes === is.bytes &&
  listed.lines === is.lines &&
  listed.sha256 === is.sha256;
