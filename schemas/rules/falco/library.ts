/**
 * Falco's rule files: lists of rules, macros and lists, in the order in which they are read. A later
 * one of the same name takes the place of the former, or with `override` changes parts of it:
 *
 *     - macro: is_sensitive_path
 *       condition: or tool.real_file_path contains "/.my_secrets/"
 *       override: { condition: append }
 */
import {
  at,
  type Entry,
  type ListNode,
  type MapNode,
  type Node,
  textOf,
  textsOf,
} from '../document.ts';
import { type Fault, outcome, type Place, quoted, refuse } from '../faults.ts';

/** What one key of a definition holds; a text is one, what was appended to it another. */
export interface Part {
  readonly texts: readonly string[];
  readonly place: Place;
}
export interface Definition {
  readonly name: string;
  readonly place: Place;
  readonly parts: ReadonlyMap<string, Part>;
}
export interface Library {
  readonly rule: Map<string, Definition>;
  readonly macro: Map<string, Definition>;
  readonly list: Map<string, Definition>;
}

const SORTS = ['rule', 'macro', 'list'] as const;
type Sort = (typeof SORTS)[number];

/** The keys of each sort; whether they have to be there. */
const KEYS: Readonly<Record<Sort, Readonly<Record<string, boolean>>>> = {
  rule: {
    ...{ desc: true, condition: true, output: true, priority: true },
    ...{ source: false, tags: false, enabled: false },
  },
  macro: { condition: true },
  list: { items: true },
};
/** They ask for a version of Falco or of a plugin, and say nothing of what a rule matches. */
const REQUIREMENTS = new Set(['required_engine_version', 'required_plugin_versions']);

type Mode = 'append' | 'replace';

function modesOf(entries: readonly Entry[]): ReadonlyMap<string, Mode> | undefined {
  const override = entries.find(({ key }) => key === 'override');
  const append = entries.find(({ key }) => key === 'append');
  if (override === undefined) {
    if (append === undefined || textOf(append) === 'false') return undefined;
    // The old form appends what can be appended.
    return new Map([
      ['condition', 'append'],
      ['items', 'append'],
    ]);
  }
  if (override.value.type !== 'map')
    return refuse('shape', override.value.place, 'override has to be a map');
  return new Map(
    override.value.entries.map((entry): [string, Mode] => {
      const mode = textOf(entry);
      if (mode === 'append' || mode === 'replace') return [entry.key, mode];
      return refuse('shape', entry.value.place, `override is append or replace, not ${mode}`);
    }),
  );
}

function partsOf(sort: Sort, entries: readonly Entry[]): Map<string, Part> {
  const parts = new Map<string, Part>();
  for (const entry of entries) {
    const { key, place, value } = entry;
    if (key === sort || key === 'override' || key === 'append') continue;
    if (!Object.hasOwn(KEYS[sort], key))
      refuse('shape', place, `the key ${quoted(key)} of a ${sort} is not supported`);
    const isList = key === 'items' || key === 'tags';
    parts.set(key, { texts: isList ? textsOf(entry) : [textOf(entry)], place: value.place });
  }
  return parts;
}

function changed(
  old: Definition,
  parts: ReadonlyMap<string, Part>,
  modes: ReadonlyMap<string, Mode>,
): Definition {
  const all = new Map(old.parts);
  for (const [key, part] of parts) {
    const mode = modes.get(key);
    if (mode === undefined)
      refuse('shape', part.place, `override does not say what to do with ${key}`);
    const before = mode === 'append' ? (all.get(key)?.texts ?? []) : [];
    all.set(key, { texts: [...before, ...part.texts], place: part.place });
  }
  return { ...old, parts: all };
}

const noEntry = ({ place }: Node): never =>
  refuse('shape', place, 'an entry of a list of rules is a rule, a macro or a list');

/** The definition that an entry makes, or that it makes of an earlier one. */
function define(library: Library, item: MapNode): void {
  const { entries, place } = item;
  if (entries.some(({ key }) => REQUIREMENTS.has(key))) return;
  const sort = SORTS.find((key) => at(item, key) !== undefined) ?? noEntry(item);
  const name = textOf(at(item, sort) as Entry);
  const modes = modesOf(entries);
  const parts = partsOf(sort, entries);
  if (modes === undefined) {
    for (const [key, needed] of Object.entries(KEYS[sort]))
      if (needed && !parts.has(key))
        refuse('shape', place, `the ${sort} ${quoted(name)} has no ${key}`);
    library[sort].set(name, { name, place, parts });
  } else {
    const reason = `there is no ${sort} ${quoted(name)} before this that it could change`;
    const old = library[sort].get(name) ?? refuse('reference', place, reason);
    library[sort].set(name, changed(old, parts, modes));
  }
}

/** Reads files in their order; an entry that can't be used is left out and told. */
export function readLibrary(files: readonly ListNode[], faults: Fault[]): Library {
  const library: Library = { rule: new Map(), macro: new Map(), list: new Map() };
  for (const item of files.flatMap(({ items }) => items)) {
    const result = outcome(() => define(library, item.type === 'map' ? item : noEntry(item)));
    if (!result.ok) faults.push(result.fault);
  }
  return library;
}

/** A part as one text; what was appended stands behind a blank, as Falco has it. */
export const joined = (part: Part | undefined): string => part?.texts.join(' ') ?? '';
