/**
 * Content values beside the commitments in the events: both files are in the same order, so they
 * are read side by side and nothing is kept.
 */
import { createHmac } from 'node:crypto';
import type { Findings } from './findings.ts';
import { BLOBS, isSeq, isUuid, type Place } from './format.ts';
import type { Lines } from './lines.ts';

/** One value with its salt, as its line has it. */
interface Opening {
  readonly stream: string;
  readonly seq: number;
  readonly field: string;
  readonly salt: string;
  /** Canonical JSON of the value, as it stands. */
  readonly json: Buffer;
  readonly line: number;
}

const HEAD =
  /^\{"event_id":"([0-9a-f-]{36})-(0|[1-9][0-9]{0,9})","field":"([a-z0-9_]{1,64})","salt":"([0-9a-f]{32})","value":/;
/** Longer than any head that `HEAD` takes. */
const HEAD_BYTES_MAX = 256;
const CLOSING_BRACE = 0x7d;

/** The line of an opening; `json` is canonical JSON of the value. */
export const openingText = (eventId: string, field: string, salt: string, json: string): string =>
  `{"event_id":"${eventId}","field":"${field}","salt":"${salt}","value":${json}}\n`;

function parseOpening(bytes: Buffer, line: number): Opening | undefined {
  const match = HEAD.exec(bytes.toString('latin1', 0, HEAD_BYTES_MAX));
  if (match === null || bytes.at(-1) !== CLOSING_BRACE) return undefined;
  const [head, stream = '', digits = '', field = '', salt = ''] = match;
  const seq = Number(digits);
  if (!isUuid(stream) || !isSeq(seq)) return undefined;
  return { stream, seq, field, salt, json: bytes.subarray(head.length, -1), line };
}

function commitmentOf({ salt, field, json }: Opening): string {
  const mac = createHmac('sha256', Buffer.from(salt, 'hex'));
  return mac.update(`${field}\0`).update(json).digest('hex');
}

function compare(a: Opening, stream: string, seq: number, field: string): number {
  if (a.stream !== stream) return a.stream < stream ? -1 : 1;
  if (a.seq !== seq) return a.seq - seq;
  return a.field < field ? -1 : a.field > field ? 1 : 0;
}

export interface Openings {
  /**
   * Matches one commitment with its opening: true where there is one, whether it fits or not.
   * Undefined where `fill` must be awaited first. Commitments come in order.
   */
  match(stream: string, seq: number, field: string, commitment: string): boolean | undefined;
  fill(): Promise<void>;
  /** Behind the last commitment: what is left belongs to none. */
  finish(): Promise<void>;
}

export function createOpenings(lines: Lines, findings: Findings): Openings {
  let ended = false;
  let at: Opening | undefined;
  let last: Opening | undefined;

  const fault = (code: string, line: number, what: string, one?: Opening) =>
    findings.fault({
      code,
      file: BLOBS,
      line,
      ...(one === undefined ? {} : placeOf(one)),
      what,
    });
  const placeOf = (one: Opening): Partial<Place> => ({
    stream_id: one.stream,
    first_seq: one.seq,
    last_seq: one.seq,
    field: one.field,
  });

  /** The opening at hand; skips what is none. Undefined at the end, or where more must be read. */
  function current(): Opening | undefined {
    while (at === undefined) {
      const bytes = lines.peek();
      if (bytes === undefined) return undefined;
      const one = lines.ended ? parseOpening(bytes, lines.line) : undefined;
      if (one === undefined) fault('line_invalid', lines.line, 'the line is no opening');
      else {
        const order = last === undefined ? 1 : compare(one, last.stream, last.seq, last.field);
        if (order === 0) fault('duplicate', one.line, 'the opening stands twice', one);
        else if (order < 0)
          fault('out_of_order', one.line, 'it belongs before the line above', one);
        else at = one;
      }
      if (at === undefined) lines.skip();
    }
    return at;
  }

  function take(one: Opening): void {
    // Its bytes belong to the block that is read; the order alone is needed from here on.
    last = { ...one, json: one.json.subarray(0, 0) };
    at = undefined;
    lines.skip();
  }

  const orphan = (one: Opening) => {
    fault('opening_orphan', one.line, 'no event commits to such content', one);
    take(one);
  };

  async function fill(): Promise<void> {
    if (!(await lines.fill())) ended = true;
  }

  return {
    fill,
    match(stream, seq, field, commitment) {
      for (;;) {
        const one = current();
        if (one === undefined) return ended ? false : undefined;
        const order = compare(one, stream, seq, field);
        if (order > 0) return false;
        if (order < 0) {
          orphan(one);
          continue;
        }
        if (commitmentOf(one) !== commitment)
          fault('opening_mismatch', one.line, 'the value is not the one that was recorded', one);
        take(one);
        return true;
      }
    },
    async finish() {
      for (;;) {
        const one = current();
        if (one !== undefined) orphan(one);
        else if (ended) return;
        else await fill();
      }
    },
  };
}
