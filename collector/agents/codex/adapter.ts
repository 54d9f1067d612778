/**
 * Codex: its telemetry is switched on with `-c` settings on the command line of this one run; the
 * user's own configuration is neither read nor written.
 */
import os from 'node:os';
import path from 'node:path';
import type { Command } from '../../record.ts';
import type { Adapter, Mapped, Prepared, SessionFiles, Setup } from '../adapter.ts';
import { textOf } from '../draft.ts';
import { mapCodexHook, openQuestions } from './hook.ts';
import { mapCodexLog, mapCodexSpan } from './otlp.ts';
import { createRolloutMapper, readSessionMeta } from './rollout.ts';
import { createCodexState, withSubagent } from './state.ts';

/** How the command line names Codex: itself, its script under Node, or its package under npx. */
const NAMES: ReadonlySet<string> = new Set(['codex', 'codex.js', 'codex.exe', '@openai/codex']);

function isCodex(argument: string): boolean {
  const unversioned = argument.replace(/(?<=.)@[\w.-]+$/, '');
  return NAMES.has(unversioned) || NAMES.has(path.basename(argument));
}

/** A TOML basic string; JSON's escapes are a part of TOML's. */
const toml = (text: string): string => JSON.stringify(text);

/**
 * Settings for one run. Metrics are left as they are: they carry no conversation, so nothing could
 * be tied to them.
 */
function overrides({ url }: Setup): string[] {
  const exporter = (signal: string) =>
    `{ otlp-http = { endpoint = ${toml(`${url}/v1/${signal}`)}, protocol = "json" } }`;
  const settings = [
    `otel.exporter=${exporter('logs')}`,
    `otel.trace_exporter=${exporter('traces')}`,
    'otel.log_user_prompt=true',
    'otel.log_agent_responses=true',
    'otel.log_guardian_assessments=true',
  ];
  return settings.flatMap((setting) => ['-c', setting]);
}

const CD_FLAGS: ReadonlySet<string> = new Set(['-C', '--cd']);

function workingDirectory({ argv, cwd }: Command): string {
  const at = argv.findIndex((argument) => CD_FLAGS.has(argument));
  const joined = argv.find((argument) => argument.startsWith('--cd='))?.slice('--cd='.length);
  const given = joined ?? (at < 0 ? undefined : argv[at + 1]);
  return given === undefined ? cwd : path.resolve(cwd, given);
}

function sessionFiles(command: Command, startNs: bigint): SessionFiles {
  const home = command.env.CODEX_HOME ?? path.join(command.env.HOME ?? os.homedir(), '.codex');
  const cwd = workingDirectory(command);
  return {
    root: path.join(path.resolve(command.cwd, home), 'sessions'),
    suffix: (conversationId) => `-${conversationId}.jsonl`,
    isOurs(firstLine) {
      const meta = readSessionMeta(firstLine);
      return meta?.cwd === cwd && meta.startNs !== undefined && BigInt(meta.startNs) >= startNs;
    },
  };
}

function prepare(command: Command, setup: Setup): Prepared {
  const files = sessionFiles(command, setup.startNs);
  const at = command.argv.findIndex(isCodex);
  if (at < 0)
    return {
      command,
      files,
      warning: 'codex is not on the command line, so its telemetry could not be switched on',
    };
  const argv = [
    ...command.argv.slice(0, at + 1),
    ...overrides(setup),
    ...command.argv.slice(at + 1),
  ];
  return { command: { ...command, argv }, files };
}

export const codex: Adapter = {
  name: 'codex',
  commands: ['codex'],
  joinKeys: ['CODEX_TOOL_CALL_ID', 'CODEX_SESSION_ID', 'CODEX_THREAD_ID'],
  toolCallKey: 'CODEX_TOOL_CALL_ID',
  prepare,
  mapper(startNs) {
    const state = createCodexState();
    const line = createRolloutMapper(state, startNs);
    const owned = (mapped: Mapped): Mapped => mapped?.map((draft) => withSubagent(draft, state));
    return {
      log: (record) => owned(mapCodexLog(record, state)),
      span: (span) => mapCodexSpan(span, state),
      line: (text, file) => owned(line(text, file)),
      hook: (_name, payload, receivedNs) => mapCodexHook(payload, receivedNs, state),
      end: () => openQuestions(state),
      conversationOf: (record) => textOf(record.attributes['conversation.id']),
    };
  },
};
