/**
 * Rule files in EQL: the wrapper around a query. It has the attributes of a Sigma rule (title, id,
 * level, author, license, tags, falsepositives …), `language: eql`, and one of
 *
 *     query        an EQL query
 *     threshold    so many events, or so many different values, within a time
 *     first_seen   a value that was not there before
 */
import { at, type Entry, type MapNode, textOf, type Warning } from '../document.ts';
import { quoted, refuse } from '../faults.ts';
import { compileFirstSeen } from '../first-seen.ts';
import { readMeta } from '../meta.ts';
import type { Matcher, Rule } from '../rule.ts';
import { compileThreshold } from '../threshold.ts';
import type { EqlFault, EqlQuery } from './ast.ts';
import { parseEql } from './parser.ts';
import { compileQuery } from './query.ts';
import { EQL_SOURCE } from './taxonomy.ts';

const BODIES = ['query', 'threshold', 'first_seen'] as const;
const KNOWN = new Set<string>([
  ...['title', 'id', 'name', 'description', 'author', 'license', 'status', 'date', 'modified'],
  ...['level', 'tags', 'references', 'falsepositives', 'related', 'language', ...BODIES],
]);

type Warn = (warning: Warning) => void;

/** Where in the file a fault of a query stands: exact by line where the query is a block. */
function placed(entry: Entry, fault: EqlFault) {
  const { place } = entry.value;
  const text = textOf(entry);
  // A block scalar begins on the line behind its `|`; how far it is indented YAML does not keep.
  if (text.includes('\n')) {
    const where = `line ${fault.line}, column ${fault.column} of the query`;
    return { place: { ...place, line: place.line + fault.line }, where: `${where}: ` };
  }
  return { place: { ...place, column: place.column + fault.column - 1 }, where: '' };
}

function refuseFault(entry: Entry, fault: EqlFault): never {
  const { place, where } = placed(entry, fault);
  return refuse('query', place, `${where}${fault.message}`);
}

/** Parses and compiles the query that stands under a key of a rule file. */
export function readQuery(entry: Entry, warn: Warn): { query: EqlQuery; matcher: Matcher } {
  const parsed = parseEql(textOf(entry));
  if (!parsed.ok) return refuseFault(entry, parsed.fault);
  const compiled = compileQuery(parsed.value);
  if (!compiled.ok) return refuseFault(entry, compiled.fault);
  for (const fault of compiled.value.unknown) {
    const { place, where } = placed(entry, fault);
    warn({ ...place, code: 'field', reason: `${where}${fault.message}` });
  }
  return { query: parsed.value, matcher: compiled.value.matcher };
}

function readBody(map: MapNode, warn: Warn): Matcher {
  const bodies = BODIES.map((key) => at(map, key)).filter((entry) => entry !== undefined);
  const [body, other] = bodies;
  if (body === undefined) {
    return refuse('shape', map.place, `a rule in EQL needs one of ${BODIES.join(', ')}`);
  }
  if (other !== undefined) {
    refuse('shape', other.place, `a rule has either ${body.key} or ${other.key}, not both`);
  }
  if (body.key === 'query') {
    const { query, matcher } = readQuery(body, warn);
    const tail = query.pipes.find((pipe) => pipe.name === 'tail');
    if (tail !== undefined) {
      const { place } = placed(body, { ...tail.at, message: '' });
      const reason = '"| tail" needs the end of the events: over a stream it never fires';
      warn({ ...place, code: 'query', reason });
    }
    return matcher;
  }
  const { value } = body;
  if (value.type !== 'map') return refuse('shape', value.place, `${body.key} has to be a map`);
  const compile = body.key === 'threshold' ? compileThreshold : compileFirstSeen;
  return compile(value, (entry) => readQuery(entry, warn));
}

/**
 * Compiles one rule document in EQL.
 *
 * @throws Refusal with file, line, column and reason where it can't be compiled
 */
export function compileEql(map: MapNode): Rule {
  const warnings: Warning[] = [];
  const warn: Warn = (warning) => warnings.push(warning);
  const language = at(map, 'language');
  if (language !== undefined && textOf(language).toLowerCase() !== 'eql') {
    const found = quoted(textOf(language));
    refuse('shape', language.value.place, `the language is "eql", not ${found}`);
  }
  for (const { key, place } of map.entries) {
    if (!KNOWN.has(key)) {
      warn({ ...place, code: 'shape', reason: `unknown key ${quoted(key)}` });
    }
  }
  const meta = readMeta(map, 'eql', EQL_SOURCE, warn);
  return { meta, matcher: readBody(map, warn), alerts: true, warnings };
}
