/**
 * Claude Code: its telemetry is switched on by environment variables, which wrappers pass on; its
 * hooks by a settings file of this one run (`--settings`), which Claude Code adds to the user's own.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Command } from '../../record.ts';
import type { Adapter, Mapped, Prepared, SessionFiles, Setup } from '../adapter.ts';
import { isObject, type Loose, logTimeNs, parseObject, textOf } from '../draft.ts';
import { HOOK_EVENTS, mapClaudeHook } from './hook.ts';
import { isFromThrowaway, mapClaudeLog, mapClaudeSpan } from './otlp.ts';
import { createClaudeState, dueRefusals, openQuestions } from './state.ts';
import { createTranscriptMapper, readTranscriptLine, SOURCE } from './transcript.ts';

/** How the command line names it: itself, its npm package, or that package's own program. */
const NAMES: ReadonlySet<string> = new Set(['claude', 'claude.exe', '@anthropic-ai/claude-code']);

function isClaude(argument: string): boolean {
  const unversioned = argument.replace(/(?<=.)@[\w.-]+$/, '');
  return NAMES.has(unversioned) || NAMES.has(path.basename(argument));
}

const EXPORT_MS = '1000';
const HOOK_SECONDS_MAX = 10;
const SETTINGS_FILE = 'claude-settings.json';

/**
 * The variables of OpenTelemetry that are read for logs and traces alone, so that metrics go on to
 * wherever their user sends them: they carry no call, and nothing could be tied to them.
 */
function telemetry(url: string): Readonly<Record<string, string>> {
  return {
    CLAUDE_CODE_ENABLE_TELEMETRY: '1',
    CLAUDE_CODE_ENHANCED_TELEMETRY_BETA: '1',
    CLAUDE_CODE_PROPAGATE_TRACEPARENT: '1',
    OTEL_LOGS_EXPORTER: 'otlp',
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: `${url}/v1/logs`,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/v1/traces`,
    OTEL_LOGS_EXPORT_INTERVAL: EXPORT_MS,
    OTEL_TRACES_EXPORT_INTERVAL: EXPORT_MS,
    OTEL_LOG_USER_PROMPTS: '1',
    OTEL_LOG_TOOL_DETAILS: '1',
    OTEL_LOG_ASSISTANT_RESPONSES: '1',
  };
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** `base` with our hooks beside those that it has. */
function withHooks(base: Loose, url: string): Loose {
  const hook = { type: 'http', url: `${url}/hook/claude`, timeout: HOOK_SECONDS_MAX };
  const had = isObject(base.hooks) ? base.hooks : {};
  const ours = HOOK_EVENTS.map((name) => [name, [...listOf(had[name]), { hooks: [hook] }]]);
  return { ...base, hooks: { ...had, ...Object.fromEntries(ours) } };
}

const FLAG = '--settings';

interface Given {
  /** The arguments without the flag. */
  readonly argv: readonly string[];
  /** What it held; undefined where that could not be read. */
  readonly settings: Loose | undefined;
}

/** The settings on the command line, a file or JSON: Claude Code takes only one such flag. */
function givenSettings(argv: readonly string[], cwd: string): Given {
  const at = argv.findIndex((argument) => argument === FLAG || argument.startsWith(`${FLAG}=`));
  if (at < 0) return { argv, settings: {} };
  const joined = argv[at] !== FLAG;
  const value = joined ? (argv[at] ?? '').slice(FLAG.length + 1) : (argv[at + 1] ?? '');
  const rest = [...argv.slice(0, at), ...argv.slice(at + (joined ? 1 : 2))];
  if (value.trimStart().startsWith('{')) return { argv: rest, settings: parseObject(value.trim()) };
  try {
    const text = fs.readFileSync(path.resolve(cwd, value), 'utf8');
    return { argv: rest, settings: parseObject(text.trim()) };
  } catch {
    return { argv: rest, settings: undefined };
  }
}

function sessionFiles(command: Command, startNs: bigint): SessionFiles {
  const home =
    command.env.CLAUDE_CONFIG_DIR ?? path.join(command.env.HOME ?? os.homedir(), '.claude');
  return {
    root: path.join(path.resolve(command.cwd, home), 'projects'),
    suffix: (conversationId) => `${conversationId}.jsonl`,
    isOurs(firstLine) {
      const line = readTranscriptLine(firstLine);
      const here = line?.cwd === undefined || line.cwd === command.cwd;
      return here && line?.ns !== undefined && BigInt(line.ns) >= startNs;
    },
    subagents: (file) => ({
      dir: path.join(file.replace(/\.jsonl$/, ''), 'subagents'),
      suffix: '.jsonl',
    }),
  };
}

function prepare(command: Command, setup: Setup): Prepared {
  const files = sessionFiles(command, setup.startNs);
  const env = { ...command.env, ...telemetry(setup.url) };
  const at = command.argv.findIndex(isClaude);
  const { argv, settings } = givenSettings(command.argv.slice(at + 1), command.cwd);
  if (at < 0 || settings === undefined) {
    const why = at < 0 ? 'claude is not on the command line' : 'its --settings can’t be read';
    return { command: { ...command, env }, files, warning: `no hooks are installed: ${why}` };
  }
  const file = path.join(setup.dir, SETTINGS_FILE);
  fs.writeFileSync(file, JSON.stringify(withHooks(settings, setup.url)), { mode: 0o600 });
  const all = [...command.argv.slice(0, at + 1), FLAG, file, ...argv];
  return { command: { ...command, env, argv: all }, files, hooks: true };
}

export const claude: Adapter = {
  name: 'claude',
  commands: ['claude'],
  joinKeys: ['TRACEPARENT', 'CLAUDE_CODE_SESSION_ID'],
  fileSource: SOURCE,
  telemetryFirst: true,
  prepare,
  mapper(startNs) {
    const state = createClaudeState();
    const lineOf = createTranscriptMapper(state, startNs);
    const withDue = (mapped: Mapped, ns: string | undefined): Mapped => {
      const due = ns === undefined ? [] : dueRefusals(state, ns);
      return due.length === 0 ? mapped : [...(mapped ?? []), ...due];
    };
    return {
      log: (record) => withDue(mapClaudeLog(record, state), logTimeNs(record)),
      span: (span) => mapClaudeSpan(span, state),
      line: lineOf,
      hook: (_name, payload, receivedNs) =>
        withDue(mapClaudeHook(payload, receivedNs, state), receivedNs),
      conversationOf: (record) =>
        isFromThrowaway(record) ? undefined : textOf(record.attributes['session.id']),
      hookConversationOf: (payload) => (isObject(payload) ? textOf(payload.session_id) : undefined),
      end: () => [...dueRefusals(state), ...openQuestions(state)],
    };
  },
};
