/**
 * The words in which events are declared. A *field* is declared once, with its meaning, its
 * OpenTelemetry name and its column; a *kind* is a choice of fields with samples. Types, validator,
 * JSON Schema, table, GraphQL types, reference page and test arbitraries all follow from these two.
 * This is the only file that knows TypeBox.
 */
import { Compile } from 'typebox/schema';

/**
 * A JSON Schema. Written out and not built by TypeBox's `Type`: that is some 500 modules, and
 * every `telltale run` would load them for a fifth of its memory.
 */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** How a field is stored and read back. `absent` is the column's value for a field not given. */
export interface Column {
  readonly type: string;
  readonly codec: string;
  readonly index?: string;
  readonly absent: 'null' | 'empty';
}

/** The shapes that a field may have; each has one wire form and one column form. */
export type Shape =
  | 'text'
  | 'keyword'
  | 'uuid'
  | 'hex'
  | 'time'
  | 'uint'
  | 'int'
  | 'flag'
  | 'list'
  | 'map';

/** One field of the dictionary: everything that anyone needs to know about it. */
export interface Field<T = unknown> {
  readonly shape: Shape;
  readonly doc: string;
  /** The OpenTelemetry semantic convention's attribute, where one exists. */
  readonly otel?: string;
  readonly values?: readonly string[];
  readonly schema: JsonSchema;
  readonly column: Column;
  /** The most UTF-8 bytes a string of it may have on the wire. */
  readonly bytesMax?: number;
  /**
   * May hold a person's words or data. The chain covers a salted commitment to it instead of the
   * value itself, so that it can be erased from the store without breaking any proof.
   */
  readonly content?: boolean;
  /** A long text (prompt, output): its column is read only when it is asked for. */
  readonly body?: boolean;
  /** Only there for the type; never set. */
  readonly phantom?: T;
}

interface Options {
  readonly otel?: string;
  readonly bytesMax?: number;
  readonly content?: boolean;
  readonly body?: boolean;
  readonly index?: string;
}

type Marks = Pick<Field, 'otel' | 'content' | 'body'>;
const marksOf = ({ otel, content, body }: Options): Marks => ({
  ...(otel === undefined ? {} : { otel }),
  ...(content === undefined ? {} : { content }),
  ...(body === undefined ? {} : { body }),
});

const KEYWORD_BYTES_MAX = 256;
const TEXT_BYTES_MAX = 64 * 1024;
/** A list (argv) has at most so many entries; a map is bounded by its bytes. */
export const ENTRIES_MAX = 16_384;
/** The longest prompt, output or argument text that is carried whole. */
export const CONTENT_BYTES_MAX = 8 * 1024 * 1024;

function string(doc: string, options: Options, shape: Shape, column: Column): Field<string> {
  const bytesMax = options.bytesMax ?? (shape === 'keyword' ? KEYWORD_BYTES_MAX : TEXT_BYTES_MAX);
  return {
    shape,
    doc,
    schema: { type: 'string' },
    bytesMax,
    column: options.index === undefined ? column : { ...column, index: options.index },
    ...marksOf(options),
  };
}

/** Free text: commands, paths, prompts. */
export const text = (doc: string, options: Options = {}): Field<string> =>
  string(doc, options, 'text', {
    type: 'String',
    codec: options.body ? 'ZSTD(3)' : 'ZSTD(1)',
    absent: 'empty',
  });

/** A word out of a small set that is not known beforehand: host, agent, tool. */
export const keyword = (doc: string, options: Options = {}): Field<string> =>
  string(doc, options, 'keyword', {
    type: 'LowCardinality(String)',
    codec: '',
    absent: 'empty',
  });

const literal = (value: string): JsonSchema => ({ type: 'string', const: value });

/** A word out of a closed list. */
export function choice<const V extends readonly string[]>(
  doc: string,
  values: V,
  options: Options = {},
): Field<V[number]> {
  const base = keyword(doc, options);
  const schema = { anyOf: values.map(literal) };
  return { ...base, values, schema } as Field<V[number]>;
}

/** A UUID in lower case with dashes. */
export const uuid = (doc: string, options: Options = {}): Field<string> => ({
  ...string(doc, options, 'uuid', { type: 'UUID', codec: 'ZSTD(1)', absent: 'empty' }),
  schema: { type: 'string', pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' },
  bytesMax: 36,
});

/** Lower-case hexadecimal of a fixed number of bytes: hashes, trace ids. */
export const hex = (doc: string, bytes: number, options: Options = {}): Field<string> => ({
  ...string(doc, options, 'hex', { type: 'String', codec: 'ZSTD(1)', absent: 'empty' }),
  schema: { type: 'string', pattern: `^[0-9a-f]{${bytes * 2}}$` },
  bytesMax: bytes * 2,
});

/**
 * Nanoseconds since 1970 as 19 decimal digits (2001 to 2262), as OTLP writes times: exact in
 * JSON, and strings of it sort as the times do.
 */
export const time = (doc: string, options: Options = {}): Field<string> => ({
  ...string(doc, options, 'time', {
    type: "DateTime64(9, 'UTC')",
    codec: 'Delta(8), ZSTD(1)',
    absent: 'empty',
  }),
  schema: { type: 'string', pattern: '^[1-8][0-9]{18}$' },
  bytesMax: 19,
});

function integer(
  doc: string,
  options: Options,
  type: string,
  range: [number, number],
): Field<number> {
  return {
    shape: range[0] < 0 ? 'int' : 'uint',
    doc,
    schema: { type: 'integer', minimum: range[0], maximum: range[1] },
    column: {
      type,
      codec: type.startsWith('Nullable') ? 'ZSTD(1)' : 'Delta(4), ZSTD(1)',
      absent: 'null',
    },
    ...(options.otel === undefined ? {} : { otel: options.otel }),
  };
}

/** A count or size; zero is a value, absent is null. */
export const uint = (doc: string, options: Options = {}): Field<number> =>
  integer(doc, options, 'Nullable(UInt64)', [0, Number.MAX_SAFE_INTEGER]);

/** A small signed number such as an exit code; absent is null. */
export const int = (doc: string, options: Options = {}): Field<number> =>
  integer(doc, options, 'Nullable(Int64)', [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]);

/** A sequence number or process id: an unsigned 32-bit number; absent is 0 and 0 is not a value. */
export const id32 = (doc: string, options: Options = {}): Field<number> => {
  const field = integer(doc, options, 'UInt32', [1, 4_294_967_295]);
  return { ...field, column: { ...field.column, absent: 'empty' } };
};

/** The same, where 0 is a value: always present. */
export const seq32 = (doc: string): Field<number> => ({
  ...integer(doc, {}, 'UInt32', [0, 4_294_967_295]),
});

export const flag = (doc: string, options: Options = {}): Field<boolean> => ({
  shape: 'flag',
  doc,
  schema: { type: 'boolean' },
  column: { type: 'Nullable(Bool)', codec: 'ZSTD(1)', absent: 'null' },
  ...(options.otel === undefined ? {} : { otel: options.otel }),
});

/** Strings in order: argv. */
export const list = (doc: string, options: Options = {}): Field<readonly string[]> => ({
  shape: 'list',
  doc,
  schema: { type: 'array', items: { type: 'string' }, maxItems: ENTRIES_MAX },
  bytesMax: options.bytesMax ?? 1024 * 1024,
  column: { type: 'Array(String)', codec: 'ZSTD(1)', absent: 'empty' },
  ...marksOf(options),
});

/** Named strings: what has no field of its own. */
export const map = (
  doc: string,
  options: Options = {},
): Field<Readonly<Record<string, string>>> => ({
  shape: 'map',
  doc,
  // Not `patternProperties`: a pattern `^.*$` lets a key with a line break past, value unchecked.
  schema: { type: 'object', additionalProperties: { type: 'string' } },
  bytesMax: options.bytesMax ?? 256 * 1024,
  column: { type: 'Map(LowCardinality(String), String)', codec: 'ZSTD(1)', absent: 'empty' },
  ...marksOf(options),
});

export type FieldSet = Readonly<Record<string, Field>>;
type ValueOf<F> = F extends Field<infer T> ? T : never;
/** The TypeScript type of a choice of fields, some required. */
export type Shaped<D extends FieldSet, Required extends keyof D, Optional extends keyof D> = {
  readonly [K in Required]: ValueOf<D[K]>;
} & { readonly [K in Exclude<Optional, Required>]?: ValueOf<D[K]> };

/** What a kind is to the rest of the system; nobody switches on a kind's name. */
export type Role =
  | 'protocol'
  | 'conversation'
  | 'call'
  | 'result'
  | 'approval'
  | 'policy'
  | 'process_start'
  | 'process_end'
  | 'effect'
  | 'stored';

/** One event kind, as its file declares it. */
export interface Kind<
  Name extends string = string,
  Required extends string = string,
  Optional extends string = string,
> {
  readonly kind: Name;
  readonly doc: string;
  readonly role: Role;
  readonly required: readonly Required[];
  readonly optional: readonly Optional[];
  /** One line for a person: what happened. It may hold control characters: escape to print. */
  readonly summary: (event: Readonly<Record<string, unknown>>) => string;
  readonly samples: readonly Readonly<Record<string, unknown>>[];
}

/** Declares a kind; field names are checked against the dictionary by the registry. */
export function defineKind<
  const Name extends string,
  const Required extends string,
  const Optional extends string,
>(kind: Kind<Name, Required, Optional>): Kind<Name, Required, Optional> {
  return kind;
}

/** A fault in an event: which field, and what is wrong, in words for a person. */
export interface Fault {
  readonly where: string;
  readonly what: string;
}

/** A compiled check of one kind's shape. */
export interface Validator {
  readonly schema: JsonSchema;
  readonly check: (value: unknown) => boolean;
  /** The first faults, at most 8. */
  readonly faults: (value: unknown) => readonly Fault[];
}

const FAULTS_MAX = 8;

/** Builds the validator of `kind` over `fields` (envelope and its own), unknown fields refused. */
export function compileKind(
  kind: string,
  doc: string,
  fields: FieldSet,
  required: ReadonlySet<string>,
): Validator {
  const properties: Record<string, JsonSchema> = {};
  for (const [name, field] of Object.entries(fields)) {
    const described = { ...field.schema, description: field.doc };
    properties[name] = name === 'kind' ? literal(kind) : described;
  }
  const schema = {
    type: 'object',
    required: Object.keys(properties).filter((name) => required.has(name)),
    properties,
    additionalProperties: false,
    description: doc,
  };
  const compiled = Compile(schema);
  return {
    schema,
    check: (value) => compiled.Check(value),
    faults: (value) =>
      compiled
        .Errors(value)[1]
        .filter((error) => error.keyword !== 'boolean')
        .slice(0, FAULTS_MAX)
        .map((error) => ({
          where: error.instancePath.slice(1) || kind,
          what: `${error.message}${extra(error.params)}`,
        })),
  };
}

function extra(params: object): string {
  const names = (params as { additionalProperties?: string[] }).additionalProperties;
  return names === undefined ? '' : `: ${names.map((name) => JSON.stringify(name)).join(', ')}`;
}
