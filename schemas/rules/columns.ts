/**
 * Which columns of an event rules may read. The fields of a rule are made from columns by the
 * taxonomies; which ones is asked of these themselves, with made-up events that note what is read
 * of them: with nothing in them, so that every fallback is asked, and with something in each field.
 */
import { ALL_FIELDS, type TelltaleEvent } from '../registry.ts';
import { eqlViews } from './eql/taxonomy.ts';
import { madeUpEvents } from './preselect.ts';
import type { Rule } from './rule.ts';
import { sigmaViews } from './sigma/taxonomy.ts';

const ALL = Object.keys(ALL_FIELDS);

/** What the engine itself asks of an event: its place, and who is behind it. */
const ALWAYS = [
  ...['tenant', 'session_id', 'stream_id', 'seq', 'kind', 'ts', 'observed_ts'],
  ...['pid', 'ppid', 'exe', 'argv', 'outcome'],
];

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

/** The columns that rules may read; all of them where a rule may read any field. */
export function columnsFor(rules: readonly Rule[]): readonly string[] {
  const asked = new Set<string>();
  for (const { matcher } of rules) {
    const tests = matcher.type === 'event' ? [matcher.test] : matcher.stream.inputs;
    if (tests.some(({ fields }) => fields === undefined)) return ALL;
    const keys = matcher.type === 'event' ? [] : matcher.stream.fields;
    for (const name of [...tests.flatMap(({ fields }) => fields ?? []), ...keys]) asked.add(name);
  }
  const read = new Set<string>([...ALWAYS, ...asked]);
  for (const event of madeUpEvents())
    for (const one of [{ kind: event.kind }, event, { ...FULL, ...event }]) {
      const noted = noting(one as TelltaleEvent, read);
      for (const { fields } of [...sigmaViews(noted), ...eqlViews(noted)])
        for (const name of asked) fields.get(name);
    }
  return ALL.filter((name) => read.has(name));
}
