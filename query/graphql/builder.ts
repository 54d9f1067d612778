/** The Pothos builder, its scalars, and what every resolver is handed. */
import SchemaBuilder from '@pothos/core';
import DataloaderPlugin from '@pothos/plugin-dataloader';
import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import type { Annotation } from '../access/gate.ts';
import type { JournalEntry } from '../access/journal.ts';
import type { Role, Viewer } from '../access/viewer.ts';
import type { Casebook } from '../casework/book.ts';
import type { LiveViews } from '../live/hub.ts';
import type { SessionLoads } from '../load.ts';
import { parseTime, type SessionHead, timeText } from '../render.ts';
import type { Runner } from '../run.ts';
import type { SealedLog } from '../sealed.ts';
import type { FlatEvent } from '../timeline/view.ts';
import type { PageTexts } from './page-text.ts';

/** One request's context. */
export interface Context {
  readonly viewer: Viewer;
  readonly run: Runner;
  /** What was loaded for whole sessions, once a request. */
  readonly loads: SessionLoads;
  /** Writes an annotation in the viewer's name; resolves when it is on disk. */
  readonly annotate: (annotation: Annotation) => Promise<JournalEntry>;
  /** Annotations and saved searches, as the viewer may see and change them. */
  readonly casebook: Casebook;
  /** Where pages of events are written as text; see `page-text.ts`. */
  readonly texts?: PageTexts;
  /** The transparency log; undefined where the service has none at hand. */
  readonly sealed?: SealedLog | undefined;
  /** Follows what comes in, for subscriptions. */
  readonly live: LiveViews;
}

export interface SchemaTypes {
  Context: Context;
  DefaultFieldNullability: false;
  DefaultInputFieldRequiredness: false;
  Scalars: {
    ID: { Input: string; Output: string };
    Time: { Input: string; Output: string };
    Long: { Input: number; Output: number };
  };
  Interfaces: { Event: FlatEvent };
  Objects: { Session: SessionHead };
}

const wrong = (what: string): GraphQLError =>
  new GraphQLError(what, { extensions: { code: 'BAD_USER_INPUT' } });

function readTime(value: unknown): string {
  const time = typeof value === 'string' ? parseTime(value) : undefined;
  if (time === undefined)
    throw wrong('a Time is RFC 3339 ("2026-11-24T10:00:00Z") or 19 digits of nanoseconds');
  return time;
}

const Time = new GraphQLScalarType<string, string>({
  name: 'Time',
  description:
    'A time, exact to the nanosecond: RFC 3339 in UTC. Input may also be decimal nanoseconds since 1970.',
  serialize: (value) => timeText(String(value)),
  parseValue: readTime,
  parseLiteral: (node) => readTime(node.kind === Kind.STRING ? node.value : undefined),
});

function readLong(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw wrong('a Long is a whole number within 2^53');
  return value;
}

const Long = new GraphQLScalarType<number, number>({
  name: 'Long',
  description: 'A whole number of magnitude below 2^53: exact as a JSON number.',
  serialize: readLong,
  parseValue: readLong,
  parseLiteral: (node) => readLong(node.kind === Kind.INT ? Number(node.value) : undefined),
});

export const builder = new SchemaBuilder<SchemaTypes>({
  plugins: [DataloaderPlugin],
  defaultFieldNullability: false,
});
builder.addScalarType('Time', Time);
builder.addScalarType('Long', Long);
builder.queryType({});

/** Marks a field with what it costs beside its children (`limits.ts`); 1 where nothing is said. */
export const costs = (cost: number, listSize?: number) => ({
  extensions: { cost, ...(listSize === undefined ? {} : { listSize }) },
});

/** Marks a field with the role that asking for it needs; `also`: what `costs` says of it. */
export const needs = (role: Role, also: { readonly extensions?: object } = {}) => ({
  extensions: { ...also.extensions, role },
});
