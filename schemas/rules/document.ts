/**
 * Rule files as located nodes: YAML 1.2 (core schema) in which every key and value knows its line,
 * and a number still knows how it was written. Rule files come from outside, so size, depth and the
 * number of nodes are bounded; an alias is followed within the same bounds.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseAllDocuments,
  type YAMLMap,
} from 'yaml';
import { type Fault, type Outcome, outcome, type Place, quoted, refuse } from './faults.ts';
import type { Scalar } from './values.ts';

/** The longest rule file that is read. */
export const RULE_FILE_BYTES_MAX = 512 * 1024;
const NODES_MAX = 50_000;
/** Each alias costs a walk over the document. */
const ALIASES_MAX = 100;
const DEPTH_MAX = 32;
/** Brackets that may be open at once in the text; the YAML parser recurses over them. */
const OPEN_BRACKETS_MAX = 200;
/**
 * How many columns of blanks and of the signs of nested blocks (`- - ? :`) a line may begin with.
 * The YAML parser builds a JavaScript expression of that length, and V8 ends the process over one
 * that is long enough.
 */
const INDENT_MAX = 500;

export interface ScalarNode {
  readonly type: 'scalar';
  readonly value: Scalar;
  /** As it stands in the file, without quotes. */
  readonly source: string;
  readonly place: Place;
}
export interface ListNode {
  readonly type: 'list';
  readonly items: readonly Node[];
  readonly place: Place;
}
export interface Entry {
  readonly key: string;
  /** Of the key. */
  readonly place: Place;
  readonly value: Node;
}
export interface MapNode {
  readonly type: 'map';
  readonly entries: readonly Entry[];
  readonly place: Place;
}
export type Node = ScalarNode | ListNode | MapNode;

/** The value of a key, where the map has it. */
export function at(map: MapNode, key: string): Entry | undefined {
  return map.entries.find((entry) => entry.key === key);
}

interface Walk {
  readonly file: string;
  readonly lines: LineCounter;
  readonly document: Document.Parsed;
  nodes: number;
  aliases: number;
}

function placeOf(walk: Pick<Walk, 'file' | 'lines'>, offset: number): Place {
  const { line, col } = walk.lines.linePos(offset);
  return { file: walk.file, line: Math.max(line, 1), column: Math.max(col, 1) };
}

function keyOf(node: ParsedNode | null, place: Place): string {
  if (!isScalar(node)) return refuse('yaml', place, 'a key has to be a plain word');
  const { value } = node;
  if (typeof value === 'string') return value;
  return typeof node.source === 'string' ? node.source : String(value);
}

/** Keys are told apart here and not by the parser, whose check takes the square of their number. */
function entriesOf(walk: Walk, map: YAMLMap, place: Place, depth: number): readonly Entry[] {
  const seen = new Set<string>();
  return map.items.map((pair): Entry => {
    const node = pair.key as ParsedNode | null;
    const where = node?.range ? placeOf(walk, node.range[0]) : place;
    const key = keyOf(node, where);
    if (seen.has(key)) refuse('yaml', where, `the key ${quoted(key)} stands here twice`);
    seen.add(key);
    return {
      key,
      place: where,
      value: convert(walk, pair.value as ParsedNode | null, where, depth + 1),
    };
  });
}

function convert(walk: Walk, node: ParsedNode | null, parent: Place, depth: number): Node {
  const place = node?.range ? placeOf(walk, node.range[0]) : parent;
  if (++walk.nodes > NODES_MAX)
    return refuse('limit', place, `has more than ${NODES_MAX} values, aliases followed`);
  if (depth > DEPTH_MAX) return refuse('limit', place, `is nested deeper than ${DEPTH_MAX}`);
  if (node === null) return { type: 'scalar', value: null, source: '', place };
  if (isAlias(node)) {
    if (++walk.aliases > ALIASES_MAX)
      return refuse('limit', place, `follows more than ${ALIASES_MAX} aliases`);
    const target = node.resolve(walk.document);
    if (target === undefined) return refuse('yaml', place, `there is no anchor ${node.source}`);
    return convert(walk, target as ParsedNode, place, depth + 1);
  }
  if (isSeq(node)) {
    const items = node.items.map((item) => convert(walk, item as ParsedNode, place, depth + 1));
    return { type: 'list', items, place };
  }
  if (isMap(node)) {
    return { type: 'map', entries: entriesOf(walk, node, place, depth), place };
  }
  const { value, source } = node as { value: unknown; source?: string };
  if (value === null || typeof value === 'string' || typeof value === 'boolean')
    return { type: 'scalar', value, source: source ?? String(value ?? ''), place };
  if (typeof value === 'number')
    return { type: 'scalar', value, source: source ?? String(value), place };
  return refuse('yaml', place, `holds a value of a kind that rules do not have`);
}

/** Refuses what the parser would need a deep stack for, before it is asked. */
function checkNesting(text: string, file: string): void {
  let open = 0;
  for (const [index, line] of text.split(/\r\n|[\n\r]/).entries()) {
    const place = { file, line: index + 1, column: 1 };
    for (const char of line)
      if (char === '[' || char === '{') open++;
      else if ((char === ']' || char === '}') && open > 0) open--;
      else if (open > OPEN_BRACKETS_MAX) break;
    if (open > OPEN_BRACKETS_MAX)
      refuse('limit', place, `opens more than ${OPEN_BRACKETS_MAX} brackets`);
    if ((/^[\s\-?:]*/.exec(line)?.[0].length ?? 0) > INDENT_MAX)
      refuse('limit', place, `is indented by more than ${INDENT_MAX} columns`);
  }
}

function parse(text: string, file: string, lines: LineCounter): Document.Parsed[] {
  const bytes = Buffer.byteLength(text);
  const start = { file, line: 1, column: 1 };
  if (bytes > RULE_FILE_BYTES_MAX)
    refuse('limit', start, `has ${bytes} bytes; at most ${RULE_FILE_BYTES_MAX} are read`);
  checkNesting(text, file);
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      schema: 'core',
      version: '1.2',
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'silent',
    });
    return Array.isArray(parsed) ? (parsed as Document.Parsed[]) : [];
  } catch (error) {
    // Only a stack that ran out gets here: block structures nested by the thousand.
    if (error instanceof RangeError) return refuse('limit', start, 'is nested too deep to be read');
    throw error;
  }
}

function toNode(file: string, lines: LineCounter, document: Document.Parsed): MapNode | ListNode {
  const [error] = document.errors;
  if (error !== undefined)
    refuse('yaml', placeOf({ file, lines }, error.pos[0]), `is no YAML: ${error.message}`);
  const walk: Walk = { file, lines, document, nodes: 0, aliases: 0 };
  const node = convert(walk, document.contents, placeOf(walk, document.range[0]), 0);
  return node.type === 'scalar' ? noMap(node) : node;
}

const noMap = ({ place }: Node): never =>
  refuse('shape', place, 'a rule is a map of keys such as title and detection');

/** Behind an explicit `---` the parser gives an empty scalar where nothing stands. */
function isEmpty({ contents, errors }: Document.Parsed): boolean {
  const nothing = contents === null || (isScalar(contents) && contents.source === '');
  return nothing && errors.length === 0;
}

/**
 * Reads the documents of one file; each is a map or a list, or the fault that it is refused for. A
 * document without any content, such as the one behind a trailing `---`, is left out.
 */
export function readNodes(text: string, file: string): readonly Outcome<MapNode | ListNode>[] {
  const lines = new LineCounter();
  const parsed = outcome(() => parse(text, file, lines));
  if (!parsed.ok) return [parsed];
  return parsed.value
    .filter((document) => !isEmpty(document))
    .map((document) => outcome(() => toNode(file, lines, document)));
}

/** The same of a file in which a list is no document. */
export function readDocuments(text: string, file: string): readonly Outcome<MapNode>[] {
  return readNodes(text, file).map((document) =>
    !document.ok || document.value.type === 'map'
      ? (document as Outcome<MapNode>)
      : outcome(() => noMap((document as { value: ListNode }).value)),
  );
}

/** A text value, or the refusal that says which key needs one. */
export function textOf(entry: Entry): string {
  const { value } = entry;
  if (value.type === 'scalar' && value.value !== null)
    return typeof value.value === 'string' ? value.value : value.source;
  return refuse('shape', value.place, `${quoted(entry.key)} has to be a text`);
}

/** A list of texts; one text alone counts as a list of one. */
export function textsOf(entry: Entry): readonly string[] {
  const { value } = entry;
  if (value.type !== 'list') return [textOf(entry)];
  return value.items.map((item) => textOf({ ...entry, value: item }));
}

/** What a rule says that is not as it should be, but does not change what it matches. */
export type Warning = Fault;
