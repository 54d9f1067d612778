/** What every rule says of itself, checked against the JSON schemas of the specifications. */
import { at, type Entry, type MapNode, textOf, textsOf, type Warning } from './document.ts';
import { quoted, refuse } from './faults.ts';
import { LEVELS, type Level, type RuleMeta } from './rule.ts';
import type { Logsource } from './values.ts';

const TITLE_CHARS_MAX = 256;
const STATUSES = new Set(['stable', 'test', 'experimental', 'deprecated', 'unsupported']);
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const DATE = /^\d{4}-(0[1-9]|1[012])-(0[1-9]|[12]\d|3[01])$/;
const TAG = /^[a-z0-9_-]+\.[a-z0-9._-]+$/;

/** Takes a deviation that changes nothing of what the rule matches. */
export type Warn = (warning: Warning) => void;

function deviation(entry: Entry, reason: string, warn: Warn): void {
  warn({ ...entry.value.place, code: 'shape', reason: `${entry.key}: ${reason}` });
}

function optionalText(map: MapNode, key: string): string | undefined {
  const entry = at(map, key);
  return entry === undefined ? undefined : textOf(entry);
}

function optionalTexts(map: MapNode, key: string): readonly string[] {
  const entry = at(map, key);
  const empty = entry?.value.type === 'scalar' && entry.value.value === null;
  return entry === undefined || empty ? [] : textsOf(entry);
}

function titleOf(map: MapNode): string {
  const entry = at(map, 'title');
  if (entry === undefined) return refuse('shape', map.place, 'a rule needs a title');
  const title = textOf(entry);
  if (title.length > TITLE_CHARS_MAX)
    refuse('shape', entry.value.place, `title has more than ${TITLE_CHARS_MAX} characters`);
  return title;
}

function levelOf(map: MapNode): Level | undefined {
  const entry = at(map, 'level');
  if (entry === undefined) return undefined;
  const level = LEVELS.find((one) => one === textOf(entry));
  return level ?? refuse('shape', entry.value.place, `level has to be one of ${LEVELS.join(', ')}`);
}

/** Fields of another taxonomy would have to be translated first: nothing here does that. */
function checkTaxonomy(map: MapNode): void {
  const entry = at(map, 'taxonomy');
  if (entry === undefined || textOf(entry) === 'sigma') return;
  const reason = `fields of the taxonomy ${quoted(textOf(entry))} are not known, only "sigma"`;
  refuse('field', entry.value.place, reason);
}

function check(map: MapNode, warn: Warn): void {
  checkTaxonomy(map);
  const { entries } = map;
  for (const entry of entries) {
    const texts = entry.value.type === 'scalar' ? [entry.value.source.trim()] : [];
    const [text = ''] = texts;
    if (entry.key === 'id' && !UUID.test(text)) deviation(entry, 'is not a UUID', warn);
    if ((entry.key === 'date' || entry.key === 'modified') && !DATE.test(text))
      deviation(entry, `${quoted(text)} is not of the form YYYY-MM-DD`, warn);
    if (entry.key === 'status' && !STATUSES.has(text))
      deviation(entry, `${quoted(text)} is none of ${[...STATUSES].join(', ')}`, warn);
    if (entry.key === 'tags')
      for (const tag of optionalTexts(map, 'tags'))
        if (!TAG.test(tag)) deviation(entry, `${quoted(tag)} is not of the form name.space`, warn);
  }
}

const LOGSOURCE_KEYS = ['product', 'category', 'service'] as const;

/** The log source of a rule or a filter; its words are compared in lower case. */
export function readLogsource(map: MapNode, warn: Warn): Logsource {
  const entry = at(map, 'logsource');
  if (entry === undefined) return refuse('shape', map.place, 'a rule needs a logsource');
  const { value } = entry;
  if (value.type !== 'map') return refuse('shape', value.place, 'logsource has to be a map');
  const source: { -readonly [K in keyof Logsource]: Logsource[K] } = {};
  for (const key of LOGSOURCE_KEYS) {
    const text = optionalText(value, key);
    if (text === undefined) continue;
    source[key] = text.toLowerCase();
    if (text !== source[key]) deviation(entry, `${quoted(text)} is not in lower case`, warn);
  }
  if (Object.keys(source).length === 0)
    refuse('shape', value.place, 'logsource names no category, product or service');
  return source;
}

/** Reads the attributes of a rule document. */
export function readMeta(
  map: MapNode,
  language: RuleMeta['language'],
  logsource: Logsource,
  warn: Warn,
): RuleMeta {
  check(map, warn);
  const optional = {
    name: optionalText(map, 'name'),
    description: optionalText(map, 'description'),
    author: optionalText(map, 'author'),
    license: optionalText(map, 'license'),
    status: optionalText(map, 'status'),
    date: optionalText(map, 'date'),
    level: levelOf(map),
  };
  const { file, line, column } = map.place;
  const id = optionalText(map, 'id')?.trim() ?? optional.name ?? `${file}:${line}`;
  return {
    ...(Object.fromEntries(
      Object.entries(optional).filter(([, value]) => value !== undefined),
    ) as Partial<RuleMeta>),
    file,
    line,
    column,
    id,
    title: titleOf(map),
    tags: optionalTexts(map, 'tags'),
    references: optionalTexts(map, 'references'),
    falsepositives: optionalTexts(map, 'falsepositives'),
    language,
    logsource,
  };
}
