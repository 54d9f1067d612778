/**
 * How EQL names our events: their own kinds and fields, and the names of the Elastic Common Schema
 * for those that have one there. The one place where either is translated.
 *
 *     category     events
 *     process      exec (`event.type` start), exit (end); `exec` and `exit` alone by those names
 *     file         file
 *     network      net; `dns` for look-ups alone
 *     tool_call    tool.call, and so for each other kind; "tool.call" in quotes is the same
 */
import type { Field } from '../../define.ts';
import { ALL_FIELDS, REGISTRY, type TelltaleEvent } from '../../registry.ts';
import type { Kinship, Program } from '../lineage.ts';
import {
  type FieldValue,
  type FieldView,
  FoldingView,
  type Logsource,
  type LogView,
} from '../values.ts';
import type { FieldType } from './operand.ts';

/** Where EQL's view of an event is found among its views. */
export const EQL_SOURCE = { product: 'telltale', service: 'eql' } as const;

type Loose = Readonly<Record<string, FieldValue | undefined>>;
type Derive = (event: Loose, kin: Kinship) => FieldValue | undefined;
interface Derived {
  readonly type: FieldType;
  readonly derive: Derive;
}

const STRING: FieldType = { type: 'string', list: false };
const INTEGER: FieldType = { type: 'integer', list: false };
const STRINGS: FieldType = { type: 'string', list: true };

/** Kinds whose category is not their own name. */
const CATEGORIES: Readonly<Record<string, string>> = {
  exec: 'process',
  exit: 'process',
  net: 'network',
};
/** Kinds by their file operation or their own name, in the words of ECS `event.type`. */
const EVENT_TYPES: Readonly<Record<string, string>> = {
  exec: 'start',
  exit: 'end',
  net: 'connection',
  create: 'creation',
  mkdir: 'creation',
  mknod: 'creation',
  link: 'creation',
  symlink: 'creation',
  delete: 'deletion',
  rmdir: 'deletion',
  read: 'access',
};
/** Fields that hold named strings: `attrs.key`. */
const MAPS = ['attrs', 'join_keys', 'settings'];

const underscored = (kind: string): string => kind.replaceAll('.', '_');
const categoryOfKind = (kind: string): string => CATEGORIES[kind] ?? underscored(kind);

const textOf = (value: FieldValue | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;
const listOf = (value: FieldValue | undefined): readonly string[] | undefined =>
  Array.isArray(value) ? (value as readonly string[]) : undefined;

function baseName(path: FieldValue | undefined): string | undefined {
  const text = textOf(path);
  return text?.slice(text.lastIndexOf('/') + 1);
}

function directory(path: FieldValue | undefined): string | undefined {
  const text = textOf(path);
  const slash = text?.lastIndexOf('/') ?? -1;
  return slash < 0 ? undefined : text?.slice(0, Math.max(slash, 1));
}

function extension(path: FieldValue | undefined): string | undefined {
  const name = baseName(path) ?? '';
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(dot + 1) : undefined;
}

/** The host of a URL, without user, port and brackets; what is no URL has none. */
function urlHost(url: FieldValue | undefined): string | undefined {
  const found = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)/.exec(
    textOf(url)?.slice(0, 4096) ?? '',
  );
  return found?.[1]?.replace(/^\[|\]$/g, '').toLowerCase() || undefined;
}

const eventType: Derive = ({ kind, file_op: op }) =>
  EVENT_TYPES[String(op ?? kind)] ?? (kind === 'file' ? 'change' : 'info');
const direction: Derive = ({ kind, net_op: op }) => {
  if (kind !== 'net') return undefined;
  return op === 'bind' || op === 'listen' ? 'ingress' : 'egress';
};

const copy = (name: string, type: FieldType): Derived => ({ type, derive: (event) => event[name] });
const string = (derive: Derive): Derived => ({ type: STRING, derive });

/** The whole argument vector of an exec; of another event that of the process behind it. */
const argsOf: (event: Loose, kin: Kinship) => readonly string[] | undefined = (event, kin) =>
  listOf(event.argv) ?? kin.self?.argv;
const exeOf = (event: Loose, { self }: Kinship): FieldValue | undefined => event.exe ?? self?.exe;

const SHELLS = new Set(['sh', 'bash', 'dash', 'zsh', 'ash', 'ksh']);

/** What a shell was given to run: the argument behind `-c`, `-lc` and the like. */
function scriptOf(program: Partial<Program>): string | undefined {
  const { exe, argv } = program;
  if (!SHELLS.has(baseName(exe) ?? '') || argv === undefined) return undefined;
  const flag = argv.findIndex((one, index) => index > 0 && /^-[A-Za-z]*c$/.test(one));
  return flag < 0 ? undefined : argv[flag + 1];
}

const DERIVED: Readonly<Record<string, Derived>> = {
  '@timestamp': copy('ts', STRING),
  'agent.name': copy('agent', STRING),
  'destination.bytes': copy('net_bytes_in', INTEGER),
  'destination.domain': copy('net_host', STRING),
  'destination.ip': copy('net_ip', STRING),
  'destination.port': copy('net_port', INTEGER),
  'dns.question.name': string((event) => (event.net_op === 'dns' ? event.net_host : undefined)),
  'event.action': string(({ kind, file_op: file, net_op: net }) => file ?? net ?? kind),
  'event.category': string((event) => categoryOfKind(String(event.kind))),
  'event.duration': copy('duration_ns', INTEGER),
  'event.id': string((event) => `${event.stream_id}-${event.seq}`),
  'event.outcome': copy('outcome', STRING),
  'event.type': string(eventType),
  'file.directory': string((event) => directory(event.file_path)),
  'file.extension': string((event) => extension(event.file_path)),
  'file.hash.sha256': copy('file_sha256', STRING),
  'file.mode': copy('file_mode', STRING),
  'file.name': string((event) => baseName(event.file_path)),
  'file.path': copy('file_path', STRING),
  'file.size': copy('file_bytes', INTEGER),
  'file.target_path': copy('file_target_path', STRING),
  'gen_ai.conversation.id': copy('conversation_id', STRING),
  'gen_ai.provider.name': copy('provider', STRING),
  'gen_ai.response.model': copy('model', STRING),
  'gen_ai.tool.call.arguments': copy('arguments', STRING),
  'gen_ai.tool.call.id': copy('tool_call_id', STRING),
  'gen_ai.tool.call.result': copy('output', STRING),
  'gen_ai.tool.name': copy('tool', STRING),
  'gen_ai.usage.input_tokens': copy('input_tokens', INTEGER),
  'gen_ai.usage.output_tokens': copy('output_tokens', INTEGER),
  'host.name': copy('host', STRING),
  'http.request.method': copy('http_method', STRING),
  'http.response.status_code': copy('http_status', INTEGER),
  'network.direction': string(direction),
  'network.transport': copy('net_transport', STRING),
  'process.args': { type: STRINGS, derive: argsOf },
  'process.args_count': { type: INTEGER, derive: (event, kin) => argsOf(event, kin)?.length },
  'process.command_line': string((event, kin) => argsOf(event, kin)?.join(' ')),
  'process.executable': string(exeOf),
  'process.exit_code': copy('exit_code', INTEGER),
  'process.name': string((event, kin) => baseName(exeOf(event, kin))),
  'process.parent.args': { type: STRINGS, derive: (_event, { parent }) => parent?.argv },
  'process.parent.command_line': string((_event, { parent }) => parent?.argv.join(' ')),
  'process.parent.executable': string((_event, { parent }) => parent?.exe),
  'process.parent.name': string((_event, { parent }) => baseName(parent?.exe)),
  'process.parent.pid': copy('ppid', INTEGER),
  'process.pid': copy('pid', INTEGER),
  'process.script': string((event, kin) => {
    const exe = textOf(exeOf(event, kin));
    const argv = argsOf(event, kin);
    return exe === undefined || argv === undefined ? undefined : scriptOf({ exe, argv });
  }),
  'process.working_directory': copy('cwd', STRING),
  'rule.name': copy('rule', STRING),
  'session.id': copy('session_id', STRING),
  'source.bytes': copy('net_bytes_out', INTEGER),
  'span.id': copy('span_id', STRING),
  'trace.id': copy('trace_id', STRING),
  'url.domain': string((event) => urlHost(event.url) ?? event.net_host),
  'url.full': copy('url', STRING),
  'user.name': copy('user', STRING),
};

const DERIVATIONS: ReadonlyMap<string, Derive> = new Map(
  Object.entries(DERIVED).map(([name, { derive }]) => [name, derive]),
);

function typeOfShape(field: Field): FieldType | undefined {
  if (field.shape === 'list') return STRINGS;
  if (field.shape === 'map') return undefined;
  if (field.shape === 'flag') return { type: 'boolean', list: false };
  return field.shape === 'uint' || field.shape === 'int' ? INTEGER : STRING;
}

/** `attrs.key` as field and key; undefined for a name of another form. */
function mapEntry(name: string): readonly [map: string, key: string] | undefined {
  const map = MAPS.find((one) => name.startsWith(`${one}.`));
  return map === undefined ? undefined : [map, name.slice(map.length + 1)];
}

/** The type of a field of our events, by its own name or its ECS name; undefined for none. */
export function typeOfField(name: string): FieldType | undefined {
  if (Object.hasOwn(DERIVED, name)) return DERIVED[name]?.type;
  const own = ALL_FIELDS[name];
  if (own !== undefined) return typeOfShape(own);
  return mapEntry(name) === undefined ? undefined : STRING;
}

/** What a category of a query means: the category of the view, and what else has to hold. */
export interface Category {
  readonly name: string;
  /** The only kind that it has, where the name alone does not say so. */
  readonly kind?: string;
  /** Narrows the category; undefined where the name says it all. */
  readonly test?: (fields: FieldView) => boolean;
}

const CATEGORY_NAMES: ReadonlyMap<string, Category> = new Map([
  ...[...REGISTRY.keys()].flatMap((kind): [string, Category][] => {
    const name = categoryOfKind(kind);
    const own = { name, kind, test: (fields: FieldView) => fields.get('kind') === kind };
    const category = kind === 'exec' || kind === 'exit' ? own : { name };
    return [
      [kind, category],
      [underscored(kind), category],
    ];
  }),
  ['process', { name: 'process' }],
  ['network', { name: 'network' }],
  ['dns', { name: 'network', test: (fields: FieldView) => fields.get('net_op') === 'dns' }],
]);

/** The category of a query by its name; undefined where no event of ours has it. */
export function findCategory(name: string): Category | undefined {
  return CATEGORY_NAMES.get(name);
}

class EqlView extends FoldingView {
  readonly #event: Loose;
  readonly #kin: Kinship;
  #derived: Map<string, FieldValue | undefined> | undefined;

  constructor(event: Loose, kin: Kinship) {
    super();
    this.#event = event;
    this.#kin = kin;
  }

  get(name: string): FieldValue | undefined {
    const event = this.#event;
    if (Object.hasOwn(event, name)) return MAPS.includes(name) ? undefined : event[name];
    const derive = DERIVATIONS.get(name);
    if (derive === undefined) return this.#entry(name);
    this.#derived ??= new Map();
    if (this.#derived.has(name)) return this.#derived.get(name);
    const value = derive(event, this.#kin);
    this.#derived.set(name, value);
    return value;
  }

  names(): readonly string[] {
    return Object.keys(this.#event).filter((name) => !MAPS.includes(name));
  }

  #entry(name: string): FieldValue | undefined {
    const entry = name.includes('.') ? mapEntry(name) : undefined;
    if (entry === undefined) return undefined;
    const map = this.#event[entry[0]] as unknown as Loose | undefined;
    return map !== undefined && Object.hasOwn(map, entry[1]) ? map[entry[1]] : undefined;
  }
}

const sourceOf = (kind: string): Logsource => ({ ...EQL_SOURCE, category: categoryOfKind(kind) });
/** One object a kind, so that a rule set knows it again. */
const SOURCES: ReadonlyMap<string, Logsource> = new Map(
  [...REGISTRY.keys()].map((kind) => [kind, sourceOf(kind)]),
);

/**
 * An event as EQL sees it.
 *
 * @param kin who is behind the event (`createLineage`); without it the parent's fields are missing,
 *   and the process's own are there on exec events alone
 * @returns one view, of the event's category
 */
export function eqlViews(event: TelltaleEvent, kin: Kinship = {}): readonly LogView[] {
  const fields = new EqlView(event as unknown as Loose, kin);
  return [{ source: SOURCES.get(event.kind) ?? sourceOf(event.kind), fields }];
}
