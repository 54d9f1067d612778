/**
 * Lines of NDJSON as events for rules. A line is one of
 *
 *     an event of ours, as it travels or as a draft    it has `kind`, and `ts` as text or not at all
 *     an event in the fields of a taxonomy             `cat` or `logsource` says where it comes from
 *
 * A line of the second form may have `id`, and as its time one of `ts`, `timestamp`, `@timestamp`:
 * milliseconds since 1970, or ISO 8601 text. Where it does not say where it comes from every rule
 * may look at it.
 */
import {
  createLineage,
  createView,
  eqlViews,
  type FieldValue,
  type Lineage,
  type Logsource,
  type LogView,
  REGISTRY,
  type RuleEvent,
  recordView,
  sigmaViews,
  type TelltaleEvent,
} from '#schemas';

export class EventError extends Error {}

type Loose = Readonly<Record<string, unknown>>;

const NANOSECONDS = /^[1-9]\d{18}$/;
const TIME_FIELDS = ['ts', 'timestamp', '@timestamp'] as const;
const ID_FIELDS = ['id', 'serial_event_id', 'event_id'] as const;

/** What a line says of itself and not of what happened: keywords are not looked for in it. */
const ENVELOPE = new Set<string>([...TIME_FIELDS, ...ID_FIELDS, 'cat']);

/** Nanoseconds of a time in milliseconds, as ISO text, or as our own nanoseconds. */
function timeNs(value: unknown): bigint | undefined {
  if (typeof value === 'number' && Number.isFinite(value))
    return BigInt(Math.round(value * 1000)) * 1000n;
  if (typeof value !== 'string') return undefined;
  if (NANOSECONDS.test(value)) return BigInt(value);
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n;
}

const isScalar = (value: unknown): boolean => value === null || typeof value !== 'object';

/** Nested objects become fields with dots in their names; lists of plain values stay lists. */
function flatten(
  value: Loose,
  prefix = '',
  // No prototype: a key called `__proto__` is a key like any other.
  into: Record<string, FieldValue> = Object.create(null),
) {
  for (const [key, entry] of Object.entries(value)) {
    if (isScalar(entry)) into[`${prefix}${key}`] = entry as FieldValue;
    else if (Array.isArray(entry))
      into[`${prefix}${key}`] = entry.map((one) => (isScalar(one) ? one : JSON.stringify(one)));
    else flatten(entry as Loose, `${prefix}${key}.`, into);
  }
  return into;
}

/** Where a line says it comes from; `cat` is a category or a service of Linux, such as auditd. */
function sourceOf(line: Loose): Logsource | undefined {
  const { cat } = line;
  if (typeof cat === 'string') return { product: 'linux', category: cat, service: cat };
  const { logsource } = line;
  if (typeof logsource !== 'object' || logsource === null) return undefined;
  const words = ['product', 'category', 'service'] as const;
  const given = words.map((word) => [word, (logsource as Loose)[word]] as const);
  return Object.fromEntries(given.filter(([, text]) => typeof text === 'string')) as Logsource;
}

function foreignViews(line: Loose): readonly LogView[] {
  const { logsource: _logsource, ...rest } = line;
  const known = recordView(flatten(rest));
  const names = known.names().filter((name) => !ENVELOPE.has(name));
  const fields = createView({ get: known.get, names: () => names });
  const source = sourceOf(line);
  if (source !== undefined) return [{ source, fields }];
  const category = line.event_type ?? line['event.category'];
  if (typeof category !== 'string') return [{ fields }];
  return [{ source: { product: 'telltale', service: 'eql', category }, fields }];
}

/** Whether a line is an event of ours: a kind that we have, and a time as we write it. */
const isOwn = (line: Loose): boolean =>
  typeof line.kind === 'string' &&
  REGISTRY.has(line.kind) &&
  line.cat === undefined &&
  line.id === undefined &&
  (line.ts === undefined || typeof line.ts === 'string');

/** Reads lines in their order: what a process runs is learned from the lines before. */
export interface EventReader {
  /** The event of one line. Throws an `EventError` that says what is wrong with it. */
  read(line: unknown, number: number): RuleEvent;
  /** Lines that had no time: they are as old as the line before them. */
  readonly untimed: number;
}

function ownEvent(line: Loose, id: string, ns: bigint, lineage: Lineage): RuleEvent {
  const event = { session_id: '', stream_id: '', tenant: '', ...line } as unknown as TelltaleEvent;
  const kin = lineage.observe(event);
  return { id, timeNs: ns, views: [...sigmaViews(event, kin), ...eqlViews(event, kin)] };
}

/** A reader of one file; `stepNs` is how much later a line without a time is than the one before. */
export function createEventReader(stepNs = 0n): EventReader {
  const lineage = createLineage();
  let newest = 0n;
  let untimed = 0;
  return {
    get untimed() {
      return untimed;
    },
    read: (value, number) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw new EventError('is not a JSON object');
      const line = value as Loose;
      const field = TIME_FIELDS.find((name) => line[name] !== undefined);
      const ns = field === undefined ? newest + stepNs : timeNs(line[field]);
      if (ns === undefined) throw new EventError(`${field} is no time`);
      if (field === undefined) untimed++;
      newest = ns;
      const own = isOwn(line);
      if (own && typeof line.stream_id === 'string' && typeof line.seq === 'number')
        return ownEvent(line, `${line.stream_id}-${line.seq}`, ns, lineage);
      const named = ID_FIELDS.map((name) => line[name]).find((id) => id !== undefined);
      const id = String(named ?? number);
      if (own) return ownEvent(line, id, ns, lineage);
      return { id, timeNs: ns, views: foreignViews(line) };
    },
  };
}
