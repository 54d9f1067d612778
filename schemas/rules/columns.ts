/**
 * Which columns of an event rules may read. The fields of a rule are made from columns by the
 * taxonomies; which ones is asked of these themselves, with made-up events that note what is read
 * of them: with nothing in them, so that every fallback is asked, and with something in each field.
 */
import { ALL_FIELDS, REGISTRY, type TelltaleEvent } from '../registry.ts';
import { eqlViews } from './eql/taxonomy.ts';
import { madeUpEvents } from './preselect.ts';
import type { Rule } from './rule.ts';
import { sigmaViews } from './sigma/taxonomy.ts';

const ALL = Object.keys(ALL_FIELDS);

/** What the engine itself asks of an event: its place … */
const PLACE = ['tenant', 'session_id', 'stream_id', 'seq', 'kind', 'ts', 'observed_ts'];
/** … and who is behind it. */
const PROCESS = ['pid', 'ppid', 'exe', 'argv', 'outcome'];

/** An event that notes which of its fields are read. */
function noting(event: TelltaleEvent, read: Set<string>): TelltaleEvent {
  const note = (name: string | symbol) => void (typeof name === 'string' && read.add(name));
  return new Proxy(event, {
    get: (target, name) => {
      note(name);
      return Reflect.get(target, name);
    },
    has: (target, name) => {
      note(name);
      return Reflect.has(target, name);
    },
    ownKeys: (target) => {
      for (const name of ALL) read.add(name);
      return Reflect.ownKeys(target);
    },
  });
}

/** Something for a column of this type. */
function something(type: string): unknown {
  if (type.startsWith('Array')) return ['x'];
  if (type.startsWith('Map')) return {};
  return type.includes('String') || type.includes('UUID') ? 'https://x.example:1/y' : 1;
}

const FULL = Object.fromEntries(
  Object.entries(ALL_FIELDS).map(([name, { column }]) => [name, something(column.type)]),
);

/** Of which events columns are asked for. */
export interface ColumnsOf {
  /** Those of one kind; of all kinds where it is left out. */
  readonly kind?: string;
  /** Whether a rule may ask who is behind an event that does not say so itself. */
  readonly lineage?: boolean;
}

/** The columns that rules may read; all of them where a rule may read any field. */
export function columnsFor(
  rules: readonly Rule[],
  { kind, lineage = true }: ColumnsOf = {},
): readonly string[] {
  const fields = kind === undefined ? undefined : REGISTRY.get(kind)?.fields;
  const all = fields === undefined ? ALL : ALL.filter((name) => Object.hasOwn(fields, name));
  const asked = new Set<string>();
  for (const { matcher } of rules) {
    const tests = matcher.type === 'event' ? [matcher.test] : matcher.stream.inputs;
    if (tests.some((test) => test.fields === undefined)) return all;
    const keys = matcher.type === 'event' ? [] : matcher.stream.fields;
    for (const name of [...tests.flatMap((test) => test.fields ?? []), ...keys]) asked.add(name);
  }
  const read = new Set<string>([...PLACE, ...(lineage ? PROCESS : []), ...asked]);
  for (const event of madeUpEvents()) {
    if (kind !== undefined && event.kind !== kind) continue;
    for (const one of [{ kind: event.kind }, event, { ...FULL, ...event }]) {
      const noted = noting(one as TelltaleEvent, read);
      for (const view of [...sigmaViews(noted), ...eqlViews(noted)])
        for (const name of asked) view.fields.get(name);
    }
  }
  return all.filter((name) => read.has(name));
}
