/**
 * The registry put together: each kind with its full field set, its compiled validator and its
 * sorted field names; and the TypeScript types that follow from it.
 */
import {
  compileKind,
  type Field,
  type FieldSet,
  type Role,
  type Shaped,
  type Validator,
} from './define.ts';
import { ENVELOPE, ENVELOPE_REQUIRED, FIELDS } from './fields.ts';
import { KINDS } from './kinds/index.ts';

type Declared = (typeof KINDS)[number];
export type KindName = Declared['kind'];
type Fields = typeof FIELDS;
type EnvelopeRequired = (typeof ENVELOPE_REQUIRED)[number];

/** The envelope of every event. */
export type Envelope = Shaped<typeof ENVELOPE, EnvelopeRequired, keyof typeof ENVELOPE>;

type EventFor<K extends Declared> = Omit<Envelope, 'kind'> & { readonly kind: K['kind'] } & Shaped<
    Fields,
    K['required'][number] & keyof Fields,
    (K['required'][number] | K['optional'][number]) & keyof Fields
  >;
type Distribute<K> = K extends Declared ? EventFor<K> : never;

/** Any event, told apart by `kind`. */
export type TelltaleEvent = Distribute<Declared>;
/** An event of one kind. */
export type EventOf<K extends KindName> = Extract<TelltaleEvent, { kind: K }>;

/** What a sensor or mapper makes: an event before it is stamped. */
type Stamped =
  | 'tenant'
  | 'session_id'
  | 'stream_id'
  | 'seq'
  | 'observed_ts'
  | 'agent'
  | 'host'
  | 'user'
  | 'content_salt'
  | 'erased'
  | 'chain_count'
  | 'chain_head'
  | 'next_public_key'
  | 'signature';
type DraftFor<E> = E extends TelltaleEvent ? Omit<E, Stamped> : never;
export type Draft = DraftFor<TelltaleEvent>;
export type DraftOf<K extends KindName> = Extract<Draft, { kind: K }>;

/** One kind, ready for use. */
export interface KindSpec {
  readonly kind: KindName;
  readonly doc: string;
  readonly role: Role;
  /** Envelope and own fields, by name, in declaration order. */
  readonly fields: FieldSet;
  readonly own: readonly string[];
  readonly required: ReadonlySet<string>;
  /** All field names in the order of canonical JSON (UTF-16 code units, RFC 8785). */
  readonly sorted: readonly string[];
  /** Names of the fields that may hold a person's words or data, sorted. */
  readonly content: readonly string[];
  readonly validator: Validator;
  readonly summary: (event: Readonly<Record<string, unknown>>) => string;
  readonly samples: readonly Readonly<Record<string, unknown>>[];
}

function build(kind: Declared): KindSpec {
  const dictionary: Readonly<Record<string, Field>> = FIELDS;
  const own: string[] = [...kind.required, ...kind.optional];
  // No prototype: a telemetry key such as "valueOf" must not find anything here.
  const fields: Record<string, Field> = Object.assign(Object.create(null), ENVELOPE);
  for (const name of own) {
    const field = dictionary[name];
    if (field === undefined)
      throw new Error(`kind ${kind.kind}: field ${name} is not in fields.ts`);
    if (name in ENVELOPE) throw new Error(`kind ${kind.kind}: ${name} is an envelope field`);
    fields[name] = field;
  }
  const required = new Set<string>([...ENVELOPE_REQUIRED, ...kind.required]);
  return {
    kind: kind.kind,
    doc: kind.doc,
    role: kind.role,
    fields,
    own,
    required,
    sorted: Object.keys(fields).sort(),
    content: Object.keys(fields)
      .filter((name) => fields[name]?.content === true)
      .sort(),
    validator: compileKind(kind.kind, kind.doc, fields, required),
    summary: kind.summary,
    samples: kind.samples,
  };
}

/** All kinds, by name, in the order of the registry. */
export const REGISTRY: ReadonlyMap<string, KindSpec> = new Map(
  KINDS.map((kind) => [kind.kind as string, build(kind)]),
);

/** All columns: envelope first, then the dictionary; the order of the table. */
export const ALL_FIELDS: FieldSet = Object.assign(Object.create(null), ENVELOPE, FIELDS);

/** The spec of a kind that is known to exist. */
export function kindSpec(kind: KindName): KindSpec {
  const spec = REGISTRY.get(kind);
  if (spec === undefined) throw new Error(`no such kind: ${kind}`);
  return spec;
}

/** The version of the registry that is written into session.open. */
export const SCHEMA_VERSION = '2';
