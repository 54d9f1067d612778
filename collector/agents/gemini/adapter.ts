/**
 * Gemini CLI: its telemetry is switched on by environment variables, which wrappers pass on. Its
 * hooks are programs, which would be started for each call; what they add (a call as it begins) the
 * logged answer of the model has as well, so none are installed.
 */
import os from 'node:os';
import path from 'node:path';
import type { Command } from '../../record.ts';
import type { Adapter, Prepared, SessionFiles, Setup } from '../adapter.ts';
import { textOf } from '../draft.ts';
import { createChatMapper, readChatHeader, SOURCE } from './chat.ts';
import { mapGeminiLog, mapGeminiSpan } from './otlp.ts';
import { createGeminiState } from './state.ts';

/** Of spans; short, so that a killed process has said what it was about to do. */
const EXPORT_MS = '200';
const ID_CHARS = 8;

function sessionFiles(command: Command, startNs: bigint): SessionFiles {
  const home = command.env.GEMINI_CLI_HOME ?? command.env.HOME ?? os.homedir();
  return {
    root: path.join(path.resolve(command.cwd, home), '.gemini', 'tmp'),
    suffix: (conversationId) => `-${conversationId.slice(0, ID_CHARS)}.jsonl`,
    isOurs(firstLine) {
      const header = readChatHeader(firstLine);
      return header?.startNs !== undefined && BigInt(header.startNs) >= startNs;
    },
  };
}

function prepare(command: Command, { url, startNs }: Setup): Prepared {
  const { GEMINI_TELEMETRY_OUTFILE: _file, ...rest } = command.env;
  const env = {
    ...rest,
    GEMINI_TELEMETRY_ENABLED: 'true',
    GEMINI_TELEMETRY_TARGET: 'local',
    GEMINI_TELEMETRY_OTLP_ENDPOINT: url,
    GEMINI_TELEMETRY_OTLP_PROTOCOL: 'http',
    GEMINI_TELEMETRY_LOG_PROMPTS: 'true',
    GEMINI_TELEMETRY_TRACES_ENABLED: 'true',
    OTEL_BSP_SCHEDULE_DELAY: EXPORT_MS,
  };
  return { command: { ...command, env }, files: sessionFiles(command, startNs) };
}

export const gemini: Adapter = {
  name: 'gemini',
  commands: ['gemini'],
  joinKeys: ['TRACEPARENT'],
  fileSource: SOURCE,
  prepare,
  mapper(startNs) {
    const state = createGeminiState();
    return {
      log: (record) => mapGeminiLog(record, state),
      span: (span) => mapGeminiSpan(span, state),
      line: createChatMapper(state, startNs),
      conversationOf: (record) => textOf(record.attributes['session.id']),
    };
  },
};
