/** What a session means: turns, tool calls with their effects, the process tree, findings. */
import { badInput } from '../errors.ts';
import type { SessionLoads } from '../load.ts';
import { PAGE_MAX, pageSize } from '../plan.ts';
import type { Analysis } from '../timeline/analyse.ts';
import type { Assessment } from '../timeline/assess.ts';
import { UNATTRIBUTED } from '../timeline/attribution.ts';
import { FINDING_KINDS, type Finding } from '../timeline/findings.ts';
import type { Claim, Contradiction, ExitCode } from '../timeline/merge.ts';
import type { Process } from '../timeline/processes.ts';
import type { CallItem, Story } from '../timeline/story.ts';
import type { Turn } from '../timeline/turns.ts';
import { type FlatEvent, roleOf } from '../timeline/view.ts';
import { builder, costs } from './builder.ts';
import { type CallEffects, EffectsRef, ProcessRef, type ProcessRow } from './effects.ts';
import { EventRef } from './events.ts';
import { SessionRef } from './sessions.ts';

/** What reading and analysing a whole session costs beside its fields. */
export const ANALYSIS_COST = 1000;
export const OF_WHOLE =
  'Reads the whole session; one above its limit is answered with SESSION_TOO_LARGE.';

const ClaimRef = builder.objectRef<Claim>('Claim').implement({
  description: 'Who said so.',
  fields: (t) => ({
    value: t.exposeString('value'),
    source: t.exposeString('source'),
    eventId: t.exposeID('eventId'),
  }),
});

const ContradictionRef = builder.objectRef<Contradiction>('Contradiction').implement({
  description: 'Two claims about one field that can’t both be true.',
  fields: (t) => ({
    field: t.exposeString('field'),
    kept: t.field({ type: ClaimRef, resolve: ({ kept }) => kept }),
    other: t.field({ type: ClaimRef, resolve: ({ other }) => other }),
  }),
});

const ExitCodeRef = builder.objectRef<ExitCode>('ExitCode').implement({
  fields: (t) => ({
    code: t.expose('code', { type: 'Long' }),
    from: t.exposeString('from', {
      description: 'kernel: how the process ended. channel: what a channel said.',
    }),
    source: t.exposeString('source'),
    eventId: t.exposeID('eventId'),
  }),
});

export interface CallRow extends CallItem {
  readonly assessment: Assessment;
}

const EFFECTS: ReadonlySet<string> = new Set(['effect', 'process_start', 'process_end']);
const isEffect = (event: FlatEvent): boolean => EFFECTS.has(roleOf(event));

/** The effects of a call, with the events in which they were seen. */
function effectsOf({ assessment, call, effects }: CallRow): CallEffects {
  const caused = assessment.analysis.causedBy.get(call.id) ?? [];
  return { ...effects, events: caused.filter(isEffect) };
}

function agentIdOf({ assessment, call }: CallRow): string | null {
  const event = assessment.analysis.byId.get(call.eventIds[0] ?? '');
  return event === undefined ? null : (assessment.agents().of(event) ?? null);
}

export const ToolCallRef = builder.objectRef<CallRow>('ToolCall').implement({
  description: 'One tool call, merged from all channels that report it.',
  fields: (t) => ({
    id: t.id({ resolve: ({ call }) => call.id }),
    turnId: t.string({ nullable: true, resolve: ({ call }) => call.turnId ?? null }),
    tool: t.string({ nullable: true, resolve: ({ call }) => call.tool ?? null }),
    namespace: t.string({ nullable: true, resolve: ({ call }) => call.namespace ?? null }),
    mcpServer: t.string({ nullable: true, resolve: ({ call }) => call.mcpServer ?? null }),
    command: t.string({ nullable: true, resolve: ({ call }) => call.command ?? null }),
    cwd: t.string({ nullable: true, resolve: ({ call }) => call.cwd ?? null }),
    arguments: t.string({ nullable: true, resolve: ({ call }) => call.arguments ?? null }),
    outcome: t.string({ nullable: true, resolve: ({ call }) => call.outcome ?? null }),
    error: t.string({ nullable: true, resolve: ({ call }) => call.error ?? null }),
    output: t.string({
      nullable: true,
      description: 'The first output that a channel gave.',
      resolve: ({ output }) => output ?? null,
    }),
    outputBytes: t.field({
      type: 'Long',
      nullable: true,
      resolve: ({ call }) => call.outputBytes ?? null,
    }),
    changes: t.stringList({ resolve: ({ call }) => call.changes }),
    exitCode: t.field({
      type: ExitCodeRef,
      nullable: true,
      resolve: ({ call }) => call.exitCode ?? null,
    }),
    exitSignal: t.string({ nullable: true, resolve: ({ call }) => call.exitSignal ?? null }),
    durationNs: t.field({
      type: 'Long',
      nullable: true,
      resolve: ({ call }) => call.durationNs ?? null,
    }),
    startedAt: t.field({ type: 'Time', resolve: ({ call }) => call.startedNs }),
    endedAt: t.field({ type: 'Time', nullable: true, resolve: ({ call }) => call.endedNs ?? null }),
    channels: t.stringList({ resolve: ({ call }) => call.channels }),
    eventIds: t.idList({ resolve: ({ call }) => call.eventIds }),
    contradictions: t.field({
      type: [ContradictionRef],
      resolve: ({ call }) => call.contradictions,
    }),
    approvals: t.field({ type: [EventRef], resolve: ({ approvals }) => approvals }),
    decisions: t.field({ type: [EventRef], resolve: ({ decisions }) => decisions }),
    effects: t.field({ type: EffectsRef, resolve: effectsOf }),
    agentId: t.string({
      nullable: true,
      description: 'The agent or subagent that made it.',
      resolve: agentIdOf,
    }),
  }),
});

const callsIn = (story: Story): CallItem[] =>
  [...story.before, ...story.turns.flatMap(({ items }) => items)].filter(
    (item) => item.type === 'call',
  );

async function callRows(loads: SessionLoads, session: string): Promise<CallRow[]> {
  const [assessment, story] = await Promise.all([loads.assessment(session), loads.story(session)]);
  const place = new Map(assessment.analysis.calls.map(({ id }, index) => [id, index]));
  const placeOf = (row: CallRow) => place.get(row.call.id) ?? 0;
  return callsIn(story)
    .map((item) => ({ ...item, assessment }))
    .sort((a, b) => placeOf(a) - placeOf(b));
}

interface TurnRow {
  readonly turn: Turn;
  readonly prompts: readonly FlatEvent[];
}

const TurnRef = builder.objectRef<TurnRow>('Turn').implement({
  description: 'One prompt and all that follows from it.',
  fields: (t) => ({
    id: t.id({ resolve: ({ turn }) => turn.id }),
    turnId: t.string({ nullable: true, resolve: ({ turn }) => turn.turnId ?? null }),
    startedAt: t.field({ type: 'Time', resolve: ({ turn }) => turn.startedNs }),
    endedAt: t.field({ type: 'Time', resolve: ({ turn }) => turn.endedNs }),
    prompts: t.field({
      type: [EventRef],
      description: 'Several where several channels report it.',
      resolve: ({ prompts }) => prompts,
    }),
    callIds: t.stringList({ resolve: ({ turn }) => turn.callIds }),
  }),
});

export const FindingRef = builder.objectRef<Finding>('Finding').implement({
  description: 'What does not fit.',
  fields: (t) => ({
    kind: t.exposeString('kind', { description: `One of: ${FINDING_KINDS.join(', ')}.` }),
    severity: t.exposeString('severity', { description: 'high, medium or info.' }),
    text: t.exposeString('text', { description: 'In words; may hold telemetry.' }),
    at: t.field({ type: 'Time', nullable: true, resolve: ({ ns }) => ns ?? null }),
    callId: t.exposeString('callId', { nullable: true }),
    eventIds: t.exposeIDList('eventIds'),
    method: t.exposeString('method', {
      nullable: true,
      description: 'By which comparison it was found; null where it is a plain fact.',
    }),
    confidencePct: t.exposeInt('confidencePct', { nullable: true }),
  }),
});

/** The processes that a tree is asked for begins with; undefined for the whole tree. */
function topsOf({ processes }: Analysis, root?: string | null, pid?: number | null) {
  if (root !== undefined && root !== null) {
    const process = processes.byId.get(root);
    if (process === undefined) throw badInput('root: no such process');
    return [process];
  }
  if (pid === undefined || pid === null) return undefined;
  return processes.list.filter((process) => process.pid === pid);
}

function processRows(analysis: Analysis, tops?: readonly Process[]): ProcessRow[] {
  const row = (process: Process, depth: number): ProcessRow => ({
    process,
    depth,
    attribution: analysis.attribution.get(process.id) ?? UNATTRIBUTED,
  });
  if (tops === undefined)
    return analysis.processes.list.map((process) => row(process, process.depth));
  const rows: ProcessRow[] = [];
  const todo = [...tops].reverse().map((process) => row(process, 0));
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    rows.push(next);
    const { process, depth } = next;
    const children = [...analysis.processes.childrenOf(process.id)].reverse();
    todo.push(...children.map((child) => row(child, depth + 1)));
  }
  return rows;
}

builder.objectFields(SessionRef, (t) => ({
  processTree: t.field({
    type: [ProcessRef],
    description: `All processes, flat, parents before children; or those from some on. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST, PAGE_MAX),
    args: {
      root: t.arg.id({ description: 'Only this process and all below it.' }),
      pid: t.arg({
        type: 'Long',
        description: 'Only processes of this number, of each of its lifetimes, and all below.',
      }),
    },
    resolve: async ({ id }, { root, pid }, { loads }) => {
      const analysis = await loads.analysis(id);
      return processRows(analysis, topsOf(analysis, root && String(root), pid));
    },
  }),
  turns: t.field({
    type: [TurnRef],
    description: OF_WHOLE,
    ...costs(ANALYSIS_COST),
    resolve: async ({ id }, _args, { loads }) =>
      (await loads.story(id)).turns.map(({ turn, prompts }) => ({ turn, prompts })),
  }),
  toolCalls: t.field({
    type: [ToolCallRef],
    description: `By start; at most \`first\` (${PAGE_MAX}), from the one behind \`after\` on. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST, PAGE_MAX),
    args: {
      first: t.arg.int({ description: `At most ${PAGE_MAX}; as many where nothing is said.` }),
      after: t.arg.string({ description: 'A call’s id.' }),
      ids: t.arg.stringList({ description: 'Only these calls.' }),
      agent: t.arg.id({ description: 'Only calls of this agent or subagent.' }),
    },
    resolve: async ({ id }, { first, after, ids, agent }, { loads }) => {
      const size = first === undefined || first === null ? PAGE_MAX : pageSize(first);
      const rows = await callRows(loads, id);
      const wanted = rows.filter(
        (row) =>
          (!ids || ids.includes(row.call.id)) && (!agent || agentIdOf(row) === String(agent)),
      );
      const from = after ? wanted.findIndex(({ call }) => call.id === after) : -1;
      if (after && from < 0) throw badInput('after: no such call');
      return wanted.slice(from + 1, from + 1 + size);
    },
  }),
  findings: t.field({
    type: [FindingRef],
    description: `What does not fit: loss, broken evidence, contradictions, refused things that ran. ${OF_WHOLE}`,
    ...costs(2 * ANALYSIS_COST),
    args: { kinds: t.arg.stringList({ description: 'Only findings of these kinds.' }) },
    resolve: async (head, { kinds }, { loads }) => {
      const unknown = kinds?.find((kind) => !FINDING_KINDS.includes(kind as Finding['kind']));
      if (unknown !== undefined)
        throw badInput(`kinds: of findings there are ${FINDING_KINDS.join(', ')}`);
      const { findings } = (await loads.whole(head)).story;
      return kinds ? findings.filter(({ kind }) => kinds.includes(kind)) : findings;
    },
  }),
  unattributed: t.field({
    type: EffectsRef,
    description: `What belongs to no call. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST),
    resolve: async ({ id }, _args, { loads }) => {
      const { unattributed } = await loads.story(id);
      const analysis = await loads.analysis(id);
      const events = (analysis.causedBy.get(undefined) ?? []).filter(isEffect);
      return { ...unattributed, events };
    },
  }),
}));
