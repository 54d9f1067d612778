/** Processes, and what a call or nobody did: programs, files, connections. */

import { PAGE_MAX } from '../plan.ts';
import type { Attribution } from '../timeline/attribution.ts';
import type { Connection, FileChange, ProcessLine, Verdict } from '../timeline/effects.ts';
import type { Image, Process } from '../timeline/processes.ts';
import type { FlatEvent } from '../timeline/view.ts';
import { builder } from './builder.ts';
import { EventRef } from './events.ts';

/** One process as a row of a tree; `depth` is its place in the tree that is shown. */
export interface ProcessRow {
  readonly process: Process;
  readonly depth: number;
  readonly attribution: Attribution;
}

/** The effects of one call: what `timeline/effects.ts` sums up, and the events themselves. */
export interface CallEffects {
  readonly processes: readonly ProcessLine[];
  readonly files: readonly FileChange[];
  readonly connections: readonly Connection[];
  readonly events: readonly FlatEvent[];
}

export const AttributionRef = builder.objectRef<Attribution>('Attribution').implement({
  description: 'Which call it belongs to, how that is known, and how surely.',
  fields: (t) => ({
    toolCallId: t.exposeString('toolCallId', { nullable: true }),
    method: t.exposeString('method'),
    confidencePct: t.exposeInt('confidencePct'),
    recorded: t.exposeBoolean('recorded', {
      description: 'Whether the collector wrote it, rather than that it was completed here.',
    }),
  }),
});

const ImageRef = builder.objectRef<Image>('ProcessImage').implement({
  description: 'A program that a process ran, or tried to.',
  fields: (t) => ({
    eventId: t.exposeID('eventId'),
    at: t.field({ type: 'Time', resolve: ({ ns }) => ns }),
    exe: t.exposeString('exe'),
    argv: t.exposeStringList('argv'),
    cwd: t.exposeString('cwd', { nullable: true }),
    error: t.exposeString('error', { nullable: true }),
  }),
});

export const ProcessRef = builder.objectRef<ProcessRow>('Process').implement({
  description: 'One lifetime of a process id.',
  fields: (t) => ({
    id: t.id({ resolve: ({ process }) => process.id }),
    parentId: t.id({ nullable: true, resolve: ({ process }) => process.parentId ?? null }),
    depth: t.exposeInt('depth'),
    streamId: t.id({ resolve: ({ process }) => process.streamId }),
    pid: t.field({ type: 'Long', resolve: ({ process }) => process.pid }),
    ppid: t.field({ type: 'Long', nullable: true, resolve: ({ process }) => process.ppid ?? null }),
    images: t.field({ type: [ImageRef], resolve: ({ process }) => process.images }),
    failed: t.field({
      type: [ImageRef],
      description: 'Programs that did not start.',
      resolve: ({ process }) => process.failed,
    }),
    startedAt: t.field({ type: 'Time', resolve: ({ process }) => process.startedNs }),
    endedAt: t.field({
      type: 'Time',
      nullable: true,
      resolve: ({ process }) => process.endedNs ?? null,
    }),
    exitCode: t.field({
      type: 'Long',
      nullable: true,
      resolve: ({ process }) => process.exitCode ?? null,
    }),
    exitSignal: t.string({
      nullable: true,
      resolve: ({ process }) => process.exitSignal ?? null,
    }),
    attribution: t.field({ type: AttributionRef, resolve: ({ attribution }) => attribution }),
  }),
});

const FileRef = builder.objectRef<FileChange>('FileChange').implement({
  description: 'What became of one path.',
  fields: (t) => ({
    path: t.exposeString('path'),
    target: t.exposeString('target', { nullable: true }),
    fate: t.exposeString('fate', {
      description: 'created, written, deleted, temporary, renamed, linked, mode, read or failed.',
    }),
    ops: t.exposeStringList('ops'),
    count: t.expose('count', { type: 'Long' }),
    firstAt: t.field({ type: 'Time', resolve: ({ firstNs }) => firstNs }),
    bytes: t.expose('bytes', { type: 'Long', nullable: true }),
    sha256: t.exposeString('sha256', { nullable: true }),
    error: t.exposeString('error', { nullable: true }),
    seen: t.exposeBoolean('seen', {
      description: 'Whether the kernel showed it, rather than only the agent’s own words.',
    }),
    attribution: t.field({ type: AttributionRef, resolve: ({ attribution }) => attribution }),
  }),
});

const VerdictRef = builder.objectRef<Verdict>('ConnectionVerdict').implement({
  fields: (t) => ({
    decision: t.exposeString('decision'),
    by: t.exposeString('by', { nullable: true }),
    rule: t.exposeString('rule', { nullable: true }),
    reason: t.exposeString('reason', { nullable: true }),
    eventId: t.exposeID('eventId'),
    enforced: t.exposeBoolean('enforced', {
      description: 'False: the connection went round the egress proxy, and nobody held it up.',
    }),
  }),
});

const ConnectionRef = builder.objectRef<Connection>('Connection').implement({
  description: 'What was done to one peer.',
  fields: (t) => ({
    op: t.exposeString('op'),
    host: t.exposeString('host', { nullable: true }),
    ip: t.exposeString('ip', { nullable: true }),
    port: t.expose('port', { type: 'Long', nullable: true }),
    path: t.exposeString('path', { nullable: true }),
    transport: t.exposeString('transport', { nullable: true }),
    url: t.exposeString('url', { nullable: true }),
    count: t.expose('count', { type: 'Long' }),
    firstAt: t.field({ type: 'Time', resolve: ({ firstNs }) => firstNs }),
    error: t.exposeString('error', { nullable: true }),
    verdict: t.field({
      type: VerdictRef,
      nullable: true,
      resolve: ({ verdict }) => verdict ?? null,
    }),
    attribution: t.field({ type: AttributionRef, resolve: ({ attribution }) => attribution }),
  }),
});

export const EffectsRef = builder.objectRef<CallEffects>('Effects').implement({
  description: 'What was done, as the kernel saw it and as the agent says.',
  fields: (t) => ({
    processes: t.field({ type: [ProcessRef], resolve: ({ processes }) => processes }),
    files: t.field({ type: [FileRef], resolve: ({ files }) => files }),
    connections: t.field({ type: [ConnectionRef], resolve: ({ connections }) => connections }),
    eventCount: t.field({ type: 'Long', resolve: ({ events }) => events.length }),
    events: t.field({
      type: [EventRef],
      description: `The events themselves, in order; the first ${PAGE_MAX}.`,
      resolve: ({ events }) => events.slice(0, PAGE_MAX),
    }),
  }),
});
