/**
 * The custody log: who recorded, stored, erased, sealed and exported, each entry chained to the one
 * before. What can be seen in the evidence itself is compared with it.
 */
import { hash } from 'node:crypto';
import type { Findings } from './findings.ts';
import {
  CUSTODY,
  hasKeys,
  isCount,
  isText,
  LEAVES_MAX,
  type Manifest,
  STREAMS_MAX,
  splitEventId,
  UnreadableError,
} from './format.ts';
import { canonicalJson, type JsonObject, parseObject } from './json.ts';
import type { Lines } from './lines.ts';

/** Entries that are kept until the evidence was read: two a stream, one a leaf, the export. */
const ENTRIES_MAX = 2 * STREAMS_MAX + LEAVES_MAX + 1000;

/** What `prev` of the first entry is. */
export const custodyStart = (tenant: string, session: string): string =>
  hash('sha256', `telltale-custody/1\n${tenant}\n${session}\n`, 'hex');

/** Writes entries one after the other; each gives its line, with its LF. */
export function createCustodyWriter(tenant: string, session: string) {
  let prev = custodyStart(tenant, session);
  return (entry: JsonObject): string => {
    const line = canonicalJson({ ...entry, prev });
    prev = hash('sha256', line, 'hex');
    return `${line}\n`;
  };
}

/** An erasure that custody names. */
export interface Erasure {
  readonly stream: string;
  readonly seq: number;
  readonly fields: readonly string[];
  readonly line: number;
}

interface Entry {
  readonly value: JsonObject;
  readonly line: number;
}

const ERASED_KEYS = ['at_ms', 'by', 'entry', 'event_id', 'fields', 'prev', 'reason'];
/** Fields of an entry that nothing else in the bundle can show. */
const FREE: Readonly<Record<string, readonly string[]>> = {
  recorded: [],
  sealed: [],
  stored: ['first_ms', 'last_ms'],
  exported: ['at_ms', 'by', 'from', 'reason'],
};

const byPlace = (a: readonly [string, number], b: readonly [string, number]): number =>
  a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1];

/**
 * Reads custody.ndjson beside the events: erasures are given in their order, to be matched with the
 * events; the other entries are kept and compared at the end.
 */
export function createCustodyReader(lines: Lines, manifest: Manifest, findings: Findings) {
  const others: Entry[] = [];
  /** How many other entries stood before erasures, and the first line where it was so. */
  const erasedBehind = new Map<number, number>();
  let prev = custodyStart(manifest.tenant, manifest.session_id);
  let last: readonly [string, number] | undefined;

  const fault = (code: string, line: number, what: string) =>
    findings.fault({ code, file: CUSTODY, line, what });

  function erasureOf(value: JsonObject, line: number): Erasure | undefined {
    const place = splitEventId(value.event_id);
    const good =
      place !== undefined &&
      hasKeys(value, ERASED_KEYS) &&
      isCount(value.at_ms) &&
      isText(value.by) &&
      isText(value.reason) &&
      Array.isArray(value.fields) &&
      value.fields.every(isText) &&
      (last === undefined || byPlace(place, last) >= 0);
    if (!good) {
      fault('custody_mismatch', line, 'an erasure that names no event, or out of order');
      return undefined;
    }
    last = place;
    return { stream: place[0], seq: place[1], fields: value.fields as string[], line };
  }

  /** The next erasure; undefined behind the last. */
  async function nextErasure(): Promise<Erasure | undefined> {
    for (;;) {
      const at = lines.peek();
      if (at === undefined) {
        if (!(await lines.fill())) return undefined;
        continue;
      }
      const { line, ended } = lines;
      const value = ended ? parseObject(at) : undefined;
      if (value === undefined) {
        fault('line_invalid', line, 'the line is not canonical JSON');
        lines.skip();
        continue;
      }
      if (value.prev !== prev)
        fault('custody_chain', line, 'it does not follow from the line before it');
      prev = hash('sha256', at, 'hex');
      lines.skip();
      if (value.entry === 'erased') {
        if (!erasedBehind.has(others.length)) erasedBehind.set(others.length, line);
        const erasure = erasureOf(value, line);
        if (erasure !== undefined) return erasure;
        continue;
      }
      if (others.length >= ENTRIES_MAX)
        throw new UnreadableError(`${CUSTODY} has more than ${ENTRIES_MAX} entries`);
      others.push({ value, line });
    }
  }

  /**
   * Compares what was kept with what the evidence shows: the entries that must stand before the
   * erasures, and those that must stand behind.
   */
  function compare(before: readonly JsonObject[], behind: readonly JsonObject[]): void {
    const wanted = [...before, ...behind];
    for (const [count, line] of erasedBehind)
      if (count !== before.length) fault('custody_mismatch', line, 'an erasure out of its place');
    for (const [index, { value, line }] of others.entries()) {
      const want = wanted[index];
      const free = FREE[String(want?.entry)] ?? [];
      const keys = want === undefined ? [] : [...Object.keys(want), 'prev', ...free];
      const same =
        want !== undefined &&
        hasKeys(value, keys) &&
        Object.entries(want).every(([name, is]) => value[name] === is);
      if (same) continue;
      fault('custody_mismatch', line, 'the entry says other than the evidence');
      return;
    }
    if (others.length < wanted.length)
      fault('custody_mismatch', lines.line + 1, 'an entry is missing behind the last line');
  }

  return {
    nextErasure,
    compare,
    mismatch: ({ line }: Erasure) =>
      fault('custody_mismatch', line, 'it names content that was not erased, or never was there'),
  };
}
