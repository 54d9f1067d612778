/**
 * What Telltale knows of one agent: how its telemetry is switched on for one run, and what its
 * records mean. Mappers are pure but for the memory of one run; they do no I/O and never throw on
 * purpose: whatever they throw is counted as one record that could not be mapped.
 */
import type { Draft } from '#schemas';
import type { Command } from '../record.ts';
import type { LogRecord, Span } from './otlp/shape.ts';

/** Where this run's telemetry goes. */
export interface Setup {
  /** Base of the receiver; signals are at `/v1/logs` and so on, hooks at `/hook/NAME`. */
  readonly url: string;
  /** When the run began, in nanoseconds since 1970. */
  readonly startNs: bigint;
  /** A directory of this run's own that only its user can read; it is gone after the run. */
  readonly dir: string;
}

/** Session files that the agent writes beside its telemetry. */
export interface SessionFiles {
  readonly root: string;
  /** The files of a conversation have names that end so. */
  suffix(conversationId: string): string;
  /**
   * Whether a file that nobody's telemetry named belongs to this run, by its first line: the last
   * resort when no telemetry came at all.
   */
  isOurs(firstLine: string): boolean;
  /** Where a session's sub-agents write their files, and how those end. */
  subagents?(file: string): { readonly dir: string; readonly suffix: string };
}

export interface Prepared {
  readonly command: Command;
  readonly files?: SessionFiles;
  /** A file that the agent writes for this run alone. */
  readonly file?: string;
  /** Telemetry is not asked for, so that none coming says nothing. */
  readonly noTelemetry?: boolean;
  /** Hooks were installed, so that none arriving means something. */
  readonly hooks?: boolean;
  /** Why telemetry could not be switched on, in words; then only the kernel's view is recorded. */
  readonly warning?: string;
}

/** The drafts of one record. Undefined: the record's kind is not known. */
export type Mapped = readonly Draft[] | undefined;

export interface Mapper {
  log(record: LogRecord): Mapped;
  span(span: Span): Mapped;
  /** One line of a session file; `file` tells several files apart. */
  line?(line: string, file: string): Mapped;
  /** What the agent gave to a hook, taken in at `receivedNs` (nanoseconds since 1970). */
  hook?(name: string, payload: unknown, receivedNs: string): Mapped;
  /** The agent's own session that a record belongs to; its file is then followed. */
  conversationOf?(record: LogRecord): string | undefined;
  /** The same, by what was given to a hook. */
  hookConversationOf?(payload: unknown): string | undefined;
  /** What was held back for more to come, at the end of the run. */
  end?(): readonly Draft[];
}

export interface Adapter {
  readonly name: string;
  /** Basenames of commands that are this agent. */
  readonly commands: readonly string[];
  /** Environment variables of the agent's children that the kernel sensor keeps. */
  readonly joinKeys: readonly string[];
  /** The one of them that holds the tool call's id. */
  readonly toolCallKey?: string;
  /** What its session files are called as a source; `rollout` where it does not say. */
  readonly fileSource?: string;
  /** In an import its telemetry is read before its files, which do not tell some decisions. */
  readonly telemetryFirst?: boolean;
  prepare(command: Command, setup: Setup): Prepared;
  /** A mapper for one run that began at `startNs` (nanoseconds since 1970). */
  mapper(startNs: bigint): Mapper;
}
