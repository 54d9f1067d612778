/** dead-letters.ndjson: bytes that arrived and could not be stored, and the numbers they had. */
import { type Ranges, toRanges } from '../ranges.ts';
import type { Findings } from './findings.ts';
import {
  DEAD,
  hasKeys,
  isCount,
  isSeq,
  isText,
  isUuid,
  type Manifest,
  UnreadableError,
} from './format.ts';
import { type JsonObject, parseObject } from './json.ts';
import type { Lines } from './lines.ts';

/** The most dead letters of one session that are read. */
export const DEAD_LETTERS_MAX = 1_000_000;

const KEYS = [
  ...['bytes_base64', 'detail', 'field', 'origin', 'parked_ms'],
  ...['reason', 'session_id', 'stream_id', 'tenant'],
];
const TEXTS = ['bytes_base64', 'detail', 'field', 'origin', 'reason', 'stream_id'];

function isDeadLetter(value: JsonObject, manifest: Manifest): boolean {
  return (
    hasKeys(value, 'seq' in value ? [...KEYS, 'seq'] : KEYS) &&
    TEXTS.every((name) => isText(value[name])) &&
    isCount(value.parked_ms) &&
    (!('seq' in value) || isSeq(value.seq)) &&
    value.session_id === manifest.session_id &&
    value.tenant === manifest.tenant
  );
}

/** The parked numbers of each stream. */
export async function readDeadLetters(
  lines: Lines,
  manifest: Manifest,
  findings: Findings,
): Promise<ReadonlyMap<string, Ranges>> {
  const numbers = new Map<string, number[]>();
  while (await lines.fill())
    for (let at = lines.peek(); at !== undefined; lines.skip(), at = lines.peek()) {
      const value = lines.ended ? parseObject(at) : undefined;
      if (value === undefined || !isDeadLetter(value, manifest)) {
        const what = 'the line is no dead letter of this session';
        findings.fault({ code: 'line_invalid', file: DEAD, line: lines.line, what });
        continue;
      }
      if (lines.line > DEAD_LETTERS_MAX)
        throw new UnreadableError(`${DEAD} has more than ${DEAD_LETTERS_MAX} lines`);
      const { stream_id: stream, seq } = value;
      if (!isSeq(seq) || !isUuid(stream)) continue;
      const known = numbers.get(stream);
      if (known === undefined) numbers.set(stream, [seq]);
      else known.push(seq);
    }
  return new Map([...numbers].map(([stream, all]) => [stream, toRanges(all)]));
}
