/**
 * What one recording remembers of tool calls between an agent's channels. Each channel reports a
 * call in its own words and events; what they disagree on is kept on both and marked where a
 * session is read (`query/timeline/merge.ts`). Here is only what one channel must know of another:
 * the turn of a call, the sub-agent that made it, and whether its approval was told already.
 */
import { createHash } from 'node:crypto';
import type { Draft } from '#schemas';
import { boundedMap, type Loose, reported, textOf } from './draft.ts';

const CALLS_MAX = 20_000;

/** A sub-agent: an agent that a tool call of another one started. */
export interface Subagent {
  readonly id: string;
  type?: string;
  /** The call that started it. */
  parentCallId?: string;
}

export interface Call {
  tool?: string;
  command?: string;
  arguments?: string;
  turn?: string;
  subagent?: Subagent;
  /** When somebody was asked to approve it, and the text that was shown. */
  askedNs?: string;
  shown?: string;
  /** A decision was reported. */
  decided?: boolean;
  /** … and it was no. */
  denied?: boolean;
  /** It was seen on its way to run, and it was seen to have run. */
  begun?: boolean;
  ran?: boolean;
}

export type Calls = Map<string, Call>;

/** An empty memory, which forgets its oldest calls. */
export const createCalls = (): Calls => boundedMap<Call>(CALLS_MAX);

/** The call by its id, made where it is not known; `known` adds what was not known of it. */
export function callOf(calls: Calls, id: string, known: Partial<Call> = {}): Call {
  const call = calls.get(id) ?? {};
  for (const [name, value] of Object.entries(known))
    if (value !== undefined && value !== '' && call[name as keyof Call] === undefined)
      Object.assign(call, { [name]: value });
  calls.set(id, call);
  return call;
}

/** The attributes that tell whose event it is, where a sub-agent's. */
export const subagentAttrs = (subagent: Subagent | undefined): Loose =>
  subagent === undefined
    ? {}
    : {
        'gen_ai.agent.id': subagent.id,
        ...(subagent.type === undefined ? {} : { 'gen_ai.agent.name': subagent.type }),
        ...(subagent.parentCallId === undefined
          ? {}
          : { parent_tool_call_id: subagent.parentCallId }),
      };

/** Attributes put together; undefined where there are none, so that no empty map is written. */
export function attrsOf(...parts: readonly (Loose | undefined)[]): Loose | undefined {
  const all: Loose = Object.assign({}, ...parts);
  return Object.keys(all).length === 0 ? undefined : all;
}

export const sha256Of = (text: string): string =>
  createHash('sha256').update(text, 'utf8').digest('hex');

/** What tells a tool's definition from a later one of the same name: a digest of what the model is told. */
export function definitionAttrs(description: unknown): Loose | undefined {
  const text = textOf(description);
  return text === undefined ? undefined : { tool_definition_sha256: sha256Of(text) };
}

/** The version of a policy that has none of its own: a digest of its text. */
export const policyVersion = (policy: unknown): string =>
  sha256Of(JSON.stringify(policy)).slice(0, 16);

/**
 * Request and decision as one record. What was shown is the text that the question had: its hash
 * is always there, the text where it is not the command itself. Latency is from the question to the
 * decision; both are absent where nobody was asked.
 */
export function approvalOf(source: string, call: Call, envelope: Loose, fields: Loose): Draft {
  const { askedNs, shown } = call;
  const ts = textOf(envelope.ts);
  const latency =
    askedNs === undefined || ts === undefined ? undefined : Number(BigInt(ts) - BigInt(askedNs));
  const attrs = attrsOf(
    fields.attrs as Loose | undefined,
    subagentAttrs(call.subagent),
    shown === undefined || shown === call.command ? {} : { shown },
  );
  return reported('approval', source, {
    ...envelope,
    tool: call.tool,
    command: call.command,
    ...fields,
    shown_sha256: shown === undefined ? undefined : sha256Of(shown),
    duration_ns: latency !== undefined && latency >= 0 ? latency : undefined,
    attrs,
  });
}
