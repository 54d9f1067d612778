/**
 * Native files of one agent's session as drafts, through the very mappers that record it live. All
 * of it is reported, none of it was observed; the files' own times are kept.
 */
import type { Draft } from '#schemas';
import type { Adapter, Mapped } from '../adapter.ts';
import { type Parsed, parseRequest } from '../otlp/shape.ts';
import type { Native } from './native.ts';

export interface Source {
  readonly name: string;
  readonly native: Native;
}

export interface Replayed {
  readonly drafts: readonly Draft[];
  /** Records of the session files and of telemetry, and those that could not be mapped. */
  readonly files: { readonly records: number; readonly unmapped: number };
  readonly otlp: { readonly records: number; readonly unmapped: number };
}

/** The first time in a file, for the order: a session's file begins before its sub-agents'. */
const TIME = /"(?:timestamp|startTime)":"([^"]+)"|"at":(\d+)/;

function beginOf({ native }: Source): number {
  for (const line of native.lines) {
    const [, iso, ms] = TIME.exec(line) ?? [];
    if (ms !== undefined) return Number(ms);
    if (iso !== undefined && Number.isFinite(Date.parse(iso))) return Date.parse(iso);
  }
  return 0;
}

/** Maps all that the sources hold; a record that breaks its mapper is counted and left out. */
export function replay(adapter: Adapter, sources: readonly Source[]): Replayed {
  const mapper = adapter.mapper(0n);
  const drafts: Draft[] = [];
  const files = { records: 0, unmapped: 0 };
  const otlp = { records: 0, unmapped: 0 };
  const take = (count: { records: number; unmapped: number }, map: () => Mapped) => {
    count.records++;
    try {
      const mapped = map();
      if (mapped === undefined) count.unmapped++;
      else drafts.push(...mapped);
    } catch {
      count.unmapped++;
    }
  };
  const ordered = [...sources].sort((a, b) => beginOf(a) - beginOf(b));
  const parsed: Parsed[] = ordered.flatMap(({ native }) =>
    native.requests.flatMap(({ signal, body }) => {
      try {
        return [parseRequest(signal, body)];
      } catch {
        otlp.records++;
        otlp.unmapped++;
        return [];
      }
    }),
  );
  const takeFiles = () => {
    for (const { name, native } of ordered)
      for (const line of native.lines) take(files, () => mapper.line?.(line, name));
  };
  const takeTelemetry = () => {
    for (const { spans } of parsed) for (const span of spans) take(otlp, () => mapper.span(span));
    for (const { logs } of parsed) for (const log of logs) take(otlp, () => mapper.log(log));
    for (const { malformed } of parsed) otlp.unmapped += malformed;
  };
  if (adapter.telemetryFirst === true) takeTelemetry();
  takeFiles();
  if (adapter.telemetryFirst !== true) takeTelemetry();
  drafts.push(...(mapper.end?.() ?? []));
  return { drafts, files, otlp };
}
