/**
 * Native files of agents, read after the fact: which agent wrote one, and what is in it, told from
 * its content alone.
 *
 *     Codex       rollout-*.jsonl          first record of type session_meta
 *     Claude Code *.jsonl, agent-*.jsonl   records with sessionId and a message
 *     Gemini CLI  session-*.jsonl          a header with sessionId and projectHash
 *     opencode    `opencode export` JSON   { info, messages }; or what our plugin wrote
 *     any         OTLP/JSON                { resourceLogs | resourceSpans | resourceMetrics },
 *                                          one document, or one a line as the OpenTelemetry
 *                                          Collector's file exporter writes it
 */
import { jsonIn } from '../../json.ts';
import { isObject, type Loose, textOf } from '../draft.ts';
import type { Signal } from '../otlp/shape.ts';

/** A file that can't be imported, and what its owner can do. */
export class ImportError extends Error {}

export interface Native {
  /** The agent that it is of; `genai` for any sender of OTLP that is none of the known ones. */
  readonly agent: string;
  /** Lines of a session file; or requests of OTLP. */
  readonly lines: readonly string[];
  readonly requests: readonly { readonly signal: Signal; readonly body: unknown }[];
}

const SIGNALS: readonly (readonly [key: string, signal: Signal])[] = [
  ['resourceLogs', 'logs'],
  ['resourceSpans', 'traces'],
  ['resourceMetrics', 'metrics'],
];

const signalOf = (record: Loose): Signal | undefined =>
  SIGNALS.find(([key]) => Array.isArray(record[key]))?.[1];

/** How the agents call themselves in `service.name`. */
const SERVICES: readonly (readonly [prefix: string, agent: string])[] = [
  ['codex', 'codex'],
  ['claude-code', 'claude'],
  ['gemini-cli', 'gemini'],
  ['opencode', 'opencode'],
];

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** The agent whose telemetry a request is. */
function serviceAgent(record: Loose): string {
  for (const [key] of SIGNALS)
    for (const group of listOf(record[key])) {
      const resource = isObject(group) && isObject(group.resource) ? group.resource : {};
      for (const attribute of listOf(resource.attributes)) {
        if (!isObject(attribute) || attribute.key !== 'service.name') continue;
        const name = isObject(attribute.value) ? textOf(attribute.value.stringValue) : undefined;
        const known = SERVICES.find(([prefix]) => name?.startsWith(prefix));
        if (known !== undefined) return known[1];
      }
    }
  return 'genai';
}

/** The agent whose session file a record is of; undefined where the record does not say. */
function lineAgent(record: Loose): string | undefined {
  if (record.type === 'session_meta' && isObject(record.payload)) return 'codex';
  if (typeof record.ordinal === 'number' && isObject(record.payload)) return 'codex';
  if (textOf(record.sessionId) !== undefined)
    return record.projectHash === undefined ? 'claude' : 'gemini';
  if (typeof record.at === 'number' && (isObject(record.event) || Array.isArray(record.argv)))
    return 'opencode';
  return undefined;
}

/** opencode's export as the lines that its plugin would have written. */
function exportLines(record: Loose): readonly string[] {
  const line = (at: unknown, type: string, properties: Loose) =>
    JSON.stringify({ at: typeof at === 'number' ? at : 0, event: { type, properties } });
  const createdOf = (info: unknown) =>
    isObject(info) && isObject(info.time) ? info.time.created : undefined;
  const messages = listOf(record.messages).filter(isObject);
  return [
    line(createdOf(record.info), 'session.created', { info: record.info }),
    ...messages.flatMap(({ info, parts }) => [
      line(createdOf(info), 'message.updated', { info }),
      ...listOf(parts).map((part) => line(createdOf(info), 'message.part.updated', { part })),
    ]),
  ];
}

const UNKNOWN =
  'is no session file or OTLP/JSON of an agent that is known. Known are rollouts of Codex, ' +
  'transcripts of Claude Code, chats of Gemini CLI, "opencode export", and OTLP in JSON; ' +
  '--agent NAME says whose it is where the content does not';

/** Records that are looked at to find out whose a file is. */
const GUESSES_MAX = 50;

function whole(record: Loose): Native | undefined {
  const signal = signalOf(record);
  if (signal !== undefined)
    return { agent: serviceAgent(record), lines: [], requests: [{ signal, body: record }] };
  if (isObject(record.info) && Array.isArray(record.messages))
    return { agent: 'opencode', lines: exportLines(record), requests: [] };
  return undefined;
}

/**
 * Reads a file by its content. `agent` says whose it is where that is known already. Throws
 * `ImportError`, which names the file and what to do.
 */
export function readNative(name: string, text: string, agent?: string): Native {
  const document = jsonIn(text);
  const single = isObject(document) ? whole(document) : undefined;
  if (single !== undefined) return { ...single, agent: agent ?? single.agent };
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const records = lines.slice(0, GUESSES_MAX).map(jsonIn);
  const first = records.find(isObject);
  if (first !== undefined && signalOf(first) !== undefined) {
    const requests = lines.flatMap((line) => {
      const body = jsonIn(line);
      const signal = isObject(body) ? signalOf(body) : undefined;
      return signal === undefined ? [] : [{ signal, body }];
    });
    return { agent: agent ?? serviceAgent(first), lines: [], requests };
  }
  const guesses = records.flatMap((record) => (isObject(record) ? (lineAgent(record) ?? []) : []));
  const guessed = agent ?? guesses[0];
  if (guessed === undefined || first === undefined)
    throw new ImportError(`${JSON.stringify(name)} ${UNKNOWN}`);
  return { agent: guessed, lines, requests: [] };
}
