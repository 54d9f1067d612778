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
import { isStreamRule, scopeOf } from './raise.ts';
import type { Anchor, EventMatcher, Rule } from './rule.ts';
import { sigmaViews } from './sigma/taxonomy.ts';
import { coversSource, type Logsource } from './values.ts';

/** One of `needles` stands in one of `columns`, in lower case. */
export interface Literals {
  readonly columns: readonly string[];
  readonly needles: readonly string[];
}

/** Rows that may pass a test: of one of `kinds`, and with one of `literals` where these are given. */
export interface RowTest {
  readonly kinds: readonly string[];
  readonly literals?: readonly Literals[];
}

/** What has to be true of the rows of a session before a rule can say anything about it. */
export interface RuleNeed {
  readonly rule: Rule;
  /** The rows that matter to it: those that pass one of these. */
  readonly rows: readonly (readonly RowTest[])[];
  /** Places in `rows` of which each must have a row; of none: any row will do. */
  readonly required: readonly number[];
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
};
/** Text columns of ours under their own names, whichever kind has them. */
const OWN = new Set([
  ...['file_path', 'file_target_path', 'net_host', 'net_ip', 'net_path', 'url', 'tool', 'command'],
  ...['tool_namespace', 'mcp_server', 'rule', 'model', 'cwd', 'file_op', 'net_op', 'decision'],
  ...['outcome', 'source', 'policy', 'scope', 'decided_by'],
]);

/** Fields that only the programs behind an event can answer. */
const LINEAGE =
  /^(?:Parent|process\.parent\.|process\.|Image$|CommandLine$|exe$|comm$|proctitle$|a\d)/;

const PRINTABLE = /^[\x20-\x7e]+$/;

/** One event for each kind and each thing that its operations can be. */
function* madeUp(): Generator<TelltaleEvent> {
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
  reaches ??= [...madeUp()].flatMap((event) =>
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

/** The columns in which an anchor's text must stand; undefined where no column says it. */
function columnsOf({ field, text }: Anchor, starts: boolean): readonly string[] | undefined {
  // The engine and JavaScript agree on lower case where it is ASCII.
  if (!PRINTABLE.test(text)) return undefined;
  if (starts && Object.hasOwn(PROCESS_COLUMNS, field)) return PROCESS_COLUMNS[field];
  if (Object.hasOwn(COLUMNS, field)) return COLUMNS[field];
  if (starts && /^a\d+$/.test(field)) return ['argv_line'];
  return OWN.has(field) ? [field] : undefined;
}

function literalsOf(anchors: readonly Anchor[], starts: boolean): readonly Literals[] | undefined {
  const byColumns = new Map<string, { columns: readonly string[]; needles: string[] }>();
  for (const anchor of anchors) {
    const columns = columnsOf(anchor, starts);
    if (columns === undefined) return undefined;
    const key = columns.join();
    const found = byColumns.get(key) ?? { columns, needles: [] };
    byColumns.set(key, found);
    found.needles.push(anchor.text);
  }
  return [...byColumns.values()];
}

function testsOfKinds(
  kinds: readonly string[],
  anchors: readonly Anchor[] | undefined,
): readonly RowTest[] {
  const parts = [true, false].map((starts) => ({
    starts,
    kinds: kinds.filter((kind) => startsProcess(kind) === starts),
  }));
  return parts
    .filter((part) => part.kinds.length > 0)
    .map(({ starts, kinds: some }): RowTest => {
      const literals = anchors === undefined ? undefined : literalsOf(anchors, starts);
      return literals === undefined ? { kinds: some } : { kinds: some, literals };
    });
}

/** Whether an anchor says which kind the event is of. */
const namesKind = ({ field, how }: Anchor) => field === 'kind' && how === 'equals';

/**
 * The rows that may pass a test: those of the kinds that its anchors name, and those that hold the
 * text of another anchor, apart for what starts processes and for all else.
 */
export function rowTests({ logsource, anchors }: EventMatcher): readonly RowTest[] {
  const kinds = kindsOf(logsource);
  if (anchors === undefined) return testsOfKinds(kinds, undefined);
  const named = new Set(anchors.filter(namesKind).map(({ text }) => text));
  const others = anchors.filter((anchor) => !namesKind(anchor));
  const ofKind = kinds.filter((kind) => named.has(kind));
  const rest = kinds.filter((kind) => !named.has(kind));
  return [
    ...(ofKind.length === 0 ? [] : [{ kinds: ofKind }]),
    ...(others.length === 0 ? [] : testsOfKinds(rest, others)),
  ];
}

const asksLineage = (fields: readonly string[] | undefined): boolean =>
  fields === undefined || fields.some((name) => LINEAGE.test(name));

/** What a rule needs of a session. */
export function needOf(rule: Rule): RuleNeed {
  if (!isStreamRule(rule)) {
    const { test } = rule.matcher as { readonly test: EventMatcher };
    return { rule, rows: [rowTests(test)], required: [], lineage: asksLineage(test.fields) };
  }
  const { inputs, fields, required = [] } = rule.matcher.stream;
  return {
    rule,
    rows: inputs.map(rowTests),
    // The inputs of a rule of the tenant may be hit in different sessions.
    required: scopeOf(rule) === 'session' ? required : [],
    lineage: asksLineage(fields) || inputs.some((input) => asksLineage(input.fields)),
  };
}
