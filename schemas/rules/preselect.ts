/**
 * What a database can say about rules before they are run: for each test which rows may pass it,
 * and for each rule which of its tests must each have passed. Always a superset: a row or session
 * that is left out here can't have mattered, and the same matchers decide on what is left.
 *
 * Whether a kind of event can reach a test is asked of the taxonomies themselves, with one made-up
 * event for each kind and operation, so that it can't drift from them.
 */
import { REGISTRY, type TelltaleEvent } from '../registry.ts';
import { eqlViews } from './eql/taxonomy.ts';
import { isStreamRule, SESSION_FIELDS, type StreamRule, scopeOf } from './raise.ts';
import type { Anchor, EventMatcher, Need, NumberOperator, Rule } from './rule.ts';
import { sigmaViews } from './sigma/taxonomy.ts';
import { coversSource, type Logsource } from './values.ts';

/** One of `needles` stands in one of `columns`, in lower case. */
export interface Literals {
  readonly columns: readonly string[];
  readonly needles: readonly string[];
  /** It is all of the text, or what is behind its last slash. */
  readonly whole?: 'text' | 'name';
}

/** What stands in a row. */
export type RowNeed =
  | Literals
  /** The column is not empty. */
  | { readonly present: string }
  | { readonly long: string; readonly charactersMin: number }
  /** A column, or an expression over one, that is a number. */
  | { readonly number: string; readonly operator: NumberOperator; readonly value: number }
  | { readonly all: readonly RowNeed[] }
  | { readonly either: readonly RowNeed[] };

/** Rows that may pass a test: of one of `kinds`, and with what is needed where that is known. */
export interface RowTest {
  readonly kinds: readonly string[];
  readonly need?: RowNeed;
  /**
   * Rows of which a session has one wherever a row of it passes. An exit has no name, but is one of
   * a process that was started under it.
   */
  readonly shown?: readonly RowTest[];
}

/** What has to be true of the rows of a session before a rule can say anything about it. */
export interface RuleNeed {
  readonly rule: Rule;
  /** The rows that matter to it: those that pass one of these. */
  readonly rows: readonly (readonly RowTest[])[];
  /** Places in `rows` of which each must have a row; of none: any row will do. */
  readonly required: readonly number[];
  /** What there has to be more than one row of the first: see `StreamMatcher.atLeast`. */
  readonly atLeast?: {
    readonly count: number;
    /** A time without a row of the second between two of these; 0 where rows can't tell. */
    readonly silenceNs: bigint;
    /** Columns that so many rows have alike. */
    readonly alike: readonly string[];
  };
  /**
   * Of the first of `rows`, those that have these columns alike and lie in one stretch of time of
   * this length matter by the first and the last of them alone, and nothing but these columns and
   * their places does.
   */
  readonly novel?: { readonly columns: readonly string[]; readonly spanNs: bigint };
  /**
   * For each of `rows` the columns of the key within the session, which all of a match have alike;
   * absent where there is no such key, or a part of it is no column.
   */
  readonly keys?: readonly (readonly string[])[];
  /** It may ask who the process behind an event is: starts and ends of processes are read too. */
  readonly lineage: boolean;
}

/** Columns by the fields that are made from them alone. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  TargetFilename: ['file_path', 'file_target_path'],
  SourceFilename: ['file_path'],
  name: ['file_path', 'file_target_path'],
  DestinationHostname: ['net_host'],
  DestinationIp: ['net_ip'],
  QueryName: ['net_host'],
  query: ['net_host'],
  'c-uri': ['url'],
  'cs-host': ['net_host'],
  'r-dns': ['net_host'],
  dst_ip: ['net_ip'],
  'file.path': ['file_path'],
  'file.name': ['file_path'],
  'file.directory': ['file_path'],
  'destination.domain': ['net_host'],
  'destination.ip': ['net_ip'],
  'dns.question.name': ['net_host'],
  'url.full': ['url'],
  'url.domain': ['url', 'net_host'],
  'user.name': ['user'],
  argv: ['argv_line'],
};
/** The same for fields that an event that starts a process has of its own, and others by lineage. */
const PROCESS_COLUMNS: Readonly<Record<string, readonly string[]>> = {
  Image: ['exe'],
  exe: ['exe'],
  comm: ['exe'],
  CommandLine: ['argv_line', 'exe'],
  proctitle: ['argv_line', 'exe'],
  'process.name': ['exe'],
  'process.executable': ['exe'],
  'process.command_line': ['argv_line'],
  'process.args': ['argv_line'],
  'process.script': ['argv_line'],
};
/** Text columns of ours under their own names, whichever kind has them. */
const OWN = new Set([
  ...['file_path', 'file_target_path', 'net_host', 'net_ip', 'net_path', 'url', 'tool', 'command'],
  ...['tool_namespace', 'mcp_server', 'rule', 'model', 'cwd', 'file_op', 'net_op', 'decision'],
  ...['outcome', 'source', 'policy', 'scope', 'decided_by', 'arguments', 'attribution'],
]);

/** Columns that every event has, and who it is of. */
const WHO = new Set(['kind', 'tenant', 'agent', 'host', 'user']);

/** Number columns under their own names, of which null is what is missing. */
const NUMBERS = new Set(['exit_code', 'net_port', 'net_bytes_out', 'net_bytes_in', 'file_bytes']);
/** How many arguments an event that starts a process has; of none the process before it may tell. */
const ARGUMENTS = 'process.args_count';

type NumberNeed = Extract<Need, { number: string }>;
const NONE = { operator: '==', value: 0 } as const;

/** Fields that only the programs behind an event can answer. */
const LINEAGE =
  /^(?:Parent|process\.(?!(?:parent\.)?pid$)|Image$|CommandLine$|exe$|comm$|proctitle$|a\d)/;
/** Those of them that an event that starts a process can't answer by itself either. */
const PARENT = /^(?:Parent|process\.parent\.(?!pid$))/;

const PRINTABLE = /^[\x20-\x7e]+$/;

/** One event for each kind and each thing that its operations can be. */
export function* madeUpEvents(): Generator<TelltaleEvent> {
  for (const { kind, fields } of REGISTRY.values()) {
    const operations = ['file_op', 'net_op'].filter((name) => name in fields);
    const choices = operations.flatMap((name) =>
      (fields[name]?.values ?? []).map((choice) => ({ [name]: choice })),
    );
    for (const operation of choices.length > 0 ? choices : [{}])
      for (const outcome of ['success', 'failure'])
        yield { kind, exe: '/x', argv: ['x'], outcome, ...operation } as unknown as TelltaleEvent;
  }
}

interface Reach {
  readonly kind: string;
  readonly source: Logsource | undefined;
}
let reaches: readonly Reach[] | undefined;

function allReaches(): readonly Reach[] {
  reaches ??= [...madeUpEvents()].flatMap((event) =>
    [...sigmaViews(event), ...eqlViews(event)].map(({ source }) => ({ kind: event.kind, source })),
  );
  return reaches;
}

/** The kinds of event that a test looks at. */
export function kindsOf(logsource: Logsource): readonly string[] {
  const kinds = allReaches().filter(({ source }) => coversSource(logsource, source));
  return [...new Set(kinds.map(({ kind }) => kind))].sort();
}

const startsProcess = (kind: string): boolean => REGISTRY.get(kind)?.role === 'process_start';
const STARTS = [...REGISTRY.keys()].filter(startsProcess);

/** The columns in which an anchor's text must stand; undefined where no column says it. */
function columnsOf({ field, text }: Anchor, starts: boolean): readonly string[] | undefined {
  // The engine and JavaScript agree on lower case where it is ASCII.
  if (!PRINTABLE.test(text)) return undefined;
  if (starts && Object.hasOwn(PROCESS_COLUMNS, field)) return PROCESS_COLUMNS[field];
  if (Object.hasOwn(COLUMNS, field)) return COLUMNS[field];
  if (starts && /^a\d+$/.test(field)) return ['argv_line'];
  return OWN.has(field) ? [field] : undefined;
}

/** What of a column an anchor is equal to, where it is known. */
function wholeOf({ field, how }: Anchor, starts: boolean): Literals['whole'] {
  if (how !== 'equals') return undefined;
  if (OWN.has(field)) return 'text';
  return starts && field === 'process.name' ? 'name' : undefined;
}

function literalsOf(anchors: readonly Anchor[], starts: boolean): RowNeed | undefined {
  const byColumns = new Map<string, Literals & { needles: string[] }>();
  for (const anchor of anchors) {
    const columns = columnsOf(anchor, starts);
    if (columns === undefined) return undefined;
    const whole = wholeOf(anchor, starts);
    const key = `${columns.join()} ${whole}`;
    const of = whole === undefined ? { columns } : { columns, whole };
    const found = byColumns.get(key) ?? { ...of, needles: [] };
    byColumns.set(key, found);
    found.needles.push(anchor.text);
  }
  const all = [...byColumns.values()];
  return all.length === 1 ? all[0] : { either: all };
}

function numberNeed(need: NumberNeed, starts: boolean): RowNeed | undefined {
  if (NUMBERS.has(need.number)) return need;
  if (!starts || need.number !== ARGUMENTS) return undefined;
  return {
    either: [
      { ...need, number: 'length(argv)' },
      { ...NONE, number: 'length(argv)' },
    ],
  };
}

/** What a row needs, of what an event needs; undefined where no column tells. */
function rowNeed(need: Need, starts: boolean): RowNeed | undefined {
  if ('one' in need) return literalsOf(need.one, starts);
  if ('present' in need) return OWN.has(need.present) ? need : undefined;
  if ('long' in need) return OWN.has(need.long) ? need : undefined;
  if ('number' in need) return numberNeed(need, starts);
  const parts = ('all' in need ? need.all : need.either).map((one) => rowNeed(one, starts));
  const known = parts.filter((one) => one !== undefined);
  if ('all' in need) return known.length === 0 ? undefined : { all: known };
  return known.length < parts.length ? undefined : { either: known };
}

/** The field of an event that started the process, for a field that tells of it elsewhere. */
const startFieldOf = (field: string): string =>
  field.replace(/^process\.parent\./, 'process.').replace(/^Parent(?=Image$|CommandLine$)/, '');

/** What a session has to show where a row of `kind` has one of the anchors by itself or by lineage. */
function shownBy(anchors: readonly Anchor[], kind: string): readonly RowTest[] | undefined {
  const direct: Anchor[] = [];
  const started: Anchor[] = [];
  for (const anchor of anchors) {
    const field = startFieldOf(anchor.field);
    if (columnsOf(anchor, startsProcess(kind)) !== undefined) direct.push(anchor);
    else if (Object.hasOwn(PROCESS_COLUMNS, field)) started.push({ ...anchor, field });
    else return undefined;
  }
  const test = (kinds: readonly string[], some: readonly Anchor[], starts: boolean) => {
    const need = some.length === 0 ? undefined : literalsOf(some, starts);
    return need === undefined ? [] : [{ kinds, need }];
  };
  const tests = [...test([kind], direct, startsProcess(kind)), ...test(STARTS, started, true)];
  // A text that no column can be asked for leaves nothing to say.
  const complete = tests.length === Number(direct.length > 0) + Number(started.length > 0);
  return complete ? tests : undefined;
}

/** Whether an anchor says which kind the event is of. */
const namesKind = ({ field, how }: Anchor) => field === 'kind' && how === 'equals';

/** The rows of one kind that may pass a test; undefined where none can. */
function testOfKind(test: EventMatcher, kind: string): Omit<RowTest, 'kinds'> | undefined {
  const narrowed = atKind(test, kind);
  if (narrowed === undefined) return undefined;
  const { anchors } = narrowed;
  const named = anchors?.some((anchor) => namesKind(anchor) && anchor.text === kind);
  const starts = startsProcess(kind);
  const known = narrowed.need === undefined ? undefined : rowNeed(narrowed.need, starts);
  if (known !== undefined) return { need: known };
  if (anchors === undefined || named) return {};
  const others = anchors.filter((anchor) => !namesKind(anchor));
  if (others.length === 0) return undefined;
  const need = literalsOf(others, starts);
  if (need !== undefined) return { need };
  const shown = shownBy(others, kind);
  return shown === undefined ? {} : { shown };
}

/** The rows that may pass a test: kind by kind, with the literals that it needs in each. */
export function rowTests(test: EventMatcher): readonly RowTest[] {
  const alike = new Map<string, RowTest & { kinds: string[] }>();
  for (const kind of kindsOf(test.logsource)) {
    const rest = testOfKind(test, kind);
    if (rest === undefined) continue;
    const key = JSON.stringify(rest);
    const known = alike.get(key);
    if (known === undefined) alike.set(key, { ...rest, kinds: [kind] });
    else known.kinds.push(kind);
  }
  return [...alike.values()];
}

const atKind = (test: EventMatcher, kind: string): EventMatcher | undefined =>
  test.pivot?.field === 'kind' ? test.pivot.at(kind) : test;

/** Whether a test may ask who is behind an event that does not say so itself. */
function asksLineage(test: EventMatcher): boolean {
  return kindsOf(test.logsource).some((kind) => {
    const narrowed = atKind(test, kind);
    const pattern = startsProcess(kind) ? PARENT : LINEAGE;
    const asked = narrowed?.fields?.some((name) => pattern.test(name)) ?? true;
    return narrowed !== undefined && asked;
  });
}

/** Fields of keys that are the columns of other names. */
const KEY_COLUMNS: Readonly<Record<string, string>> = {
  'process.pid': 'pid',
  'process.parent.pid': 'ppid',
};
const KEYS = new Set([...OWN, 'tool_call_id', 'pid', 'ppid']);

/** The keys of a sequence or sample within its session, by input. */
function keysIn({ meta, matcher }: StreamRule): readonly (readonly string[])[] | undefined {
  const { groupBy, atLeast, required = [] } = matcher.stream;
  if (meta.language !== 'eql' || atLeast !== undefined || required.length < 2) return undefined;
  const keys = groupBy.map((names) =>
    names.filter((name) => !SESSION_FIELDS.has(name)).map((name) => KEY_COLUMNS[name] ?? name),
  );
  const known = keys.every((names) => names.length > 0 && names.every((name) => KEYS.has(name)));
  return known && keys.every((names) => names.length === keys[0]?.length) ? keys : undefined;
}

/** The key of a rule within its session, as columns; none where a part of it is no column. */
function alikeIn(rule: StreamRule): readonly string[] {
  const key = (rule.matcher.stream.groupBy[0] ?? []).filter((name) => !SESSION_FIELDS.has(name));
  return key.every((name) => OWN.has(name)) ? key : [];
}

/**
 * The silence that a session's rows can show: where each row that passes the second test is one
 * that holds, and the key is the session alone. Any other row could hide a silence that there was.
 */
function silenceIn({ meta, matcher }: StreamRule): bigint {
  const { inputs, groupBy, atLeast } = matcher.stream;
  const [, test] = inputs;
  if (meta.language !== 'eql' || test === undefined || atLeast === undefined) return 0n;
  const exact = kindsOf(test.logsource).every((kind) => {
    const narrowed = atKind(test, kind);
    return narrowed === undefined || narrowed.always === true;
  });
  const alone = groupBy[0]?.every((name) => SESSION_FIELDS.has(name)) === true;
  return exact && alone ? atLeast.silenceNs : 0n;
}

/** Columns that make up all that a rule of a tenant reads of its first input, if there are such. */
function novelIn({ meta, matcher }: StreamRule): RuleNeed['novel'] {
  const { inputs, groupBy, newAfterNs } = matcher.stream;
  const asked = inputs[0]?.fields;
  if (meta.language !== 'eql' || newAfterNs === undefined || asked === undefined) return undefined;
  const names = [...new Set([...asked, ...(groupBy[0] ?? [])])];
  if (!names.every((name) => OWN.has(name) || WHO.has(name))) return undefined;
  return { columns: names.filter((name) => name !== 'tenant').sort(), spanNs: newAfterNs };
}

/** What a rule needs of a session. */
export function needOf(rule: Rule): RuleNeed {
  if (!isStreamRule(rule)) {
    const { test } = rule.matcher as { readonly test: EventMatcher };
    return { rule, rows: [rowTests(test)], required: [], lineage: asksLineage(test) };
  }
  const { inputs, fields, required = [], atLeast } = rule.matcher.stream;
  const within = scopeOf(rule) === 'session';
  const keys = within ? keysIn(rule) : undefined;
  const novel = within ? undefined : novelIn(rule);
  const silenceNs = silenceIn(rule);
  return {
    rule,
    rows: inputs.map(rowTests),
    // The inputs of a rule of the tenant may be hit in different sessions.
    required: within ? required : [],
    ...(keys === undefined ? {} : { keys }),
    ...(novel === undefined ? {} : { novel }),
    ...(within && atLeast !== undefined
      ? { atLeast: { count: atLeast.count, silenceNs, alike: alikeIn(rule) } }
      : {}),
    lineage: fields.some((name) => LINEAGE.test(name)) || inputs.some(asksLineage),
  };
}
