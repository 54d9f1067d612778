/** The triage packet, as one query. */
import { alertByFingerprint, type StoredAlert } from '../alerts.ts';
import { badInput } from '../errors.ts';
import { findSession } from '../load.ts';
import type { SessionHead } from '../render.ts';
import { removedSession } from '../retention.ts';
import type { LogProof } from '../sealed.ts';
import type { CoveringCheckpoint, Proof } from '../timeline/proofs.ts';
import type { StreamVerdicts } from '../timeline/story.ts';
import {
  buildTriage,
  type Fact,
  type LeftOut,
  TRIAGE_MAX,
  type Triage,
  type TriageCall,
  type TriageFinding,
} from '../timeline/triage.ts';
import { AgentRef } from './agents.ts';
import { AlertRef } from './alerts.ts';
import { builder, costs } from './builder.ts';
import { CoverageRef } from './coverage.ts';
import { EventRef } from './events.ts';
import { DestinationRef } from './network.ts';
import { SessionRef } from './sessions.ts';
import { ANALYSIS_COST, type CallRow, FindingRef, ToolCallRef } from './story.ts';
import { CompletenessRef, IntegrityRef } from './streams.ts';

const CheckpointRef = builder.objectRef<CoveringCheckpoint>('CoveringCheckpoint').implement({
  description: 'The signed statement over all events of a stream before it.',
  fields: (t) => ({
    eventId: t.exposeID('eventId'),
    seq: t.expose('seq', { type: 'Long' }),
    chainHead: t.exposeString('chainHead'),
    signature: t.exposeString('signature', { nullable: true }),
  }),
});

const LOG_COST = 5;
const NO_LOG: LogProof = {
  status: 'none',
  reason: 'this service has no transparency log at hand: give "telltale query --tlog URL"',
};

const LogProofRef = builder.objectRef<LogProof>('LogProof').implement({
  description:
    'The head of the stream that the transparency log holds at or behind an event, and its proof of inclusion (RFC 6962) under a signed tree head. It was verified but for the signatures: those take the keys of log and witnesses.',
  fields: (t) => ({
    status: t.exposeString('status', {
      description:
        'included: the log vouches for it. contradicted: it holds another history than the store. none: see `reason`.',
    }),
    reason: t.exposeString('reason'),
    leaf: t.exposeString('leaf', {
      nullable: true,
      description: 'The head as the log holds it: canonical JSON, the bytes of the leaf.',
    }),
    index: t.expose('index', { type: 'Long', nullable: true }),
    treeSize: t.expose('treeSize', { type: 'Long', nullable: true }),
    hashes: t.exposeStringList('hashes', {
      nullable: true,
      description: 'The audit path from the leaf’s sibling upwards, in hex.',
    }),
    checkpoint: t.exposeString('checkpoint', {
      nullable: true,
      description: 'The signed tree head as a C2SP note, cosignatures of witnesses included.',
    }),
  }),
});

const ProofRef = builder.objectRef<Proof>('Proof').implement({
  description: 'Where an event stands in its stream’s chain.',
  fields: (t) => ({
    streamId: t.exposeID('streamId'),
    seq: t.expose('seq', { type: 'Long' }),
    digest: t.exposeString('digest', {
      nullable: true,
      description: 'SHA-256 over the committed form; what chain and log hold of the event.',
    }),
    status: t.exposeString('status', {
      description:
        'proved: the chain holds up to its checkpoint. changed: a fault lies here. unproved: a checkpoint stands behind it and does not prove it. uncovered: none stands behind it yet. unchecked.',
    }),
    checkpoint: t.field({
      type: CheckpointRef,
      nullable: true,
      resolve: ({ checkpoint }) => checkpoint ?? null,
    }),
    log: t.field({
      type: LogProofRef,
      description: 'That the transparency log vouches for it, or why nothing shows that.',
      ...costs(LOG_COST),
      resolve: ({ sealable }, _args, { sealed }) =>
        sealed === undefined ? NO_LOG : sealed.proofOf(sealable),
    }),
  }),
});

const FactRef = builder.objectRef<Fact>('Fact').implement({
  description: 'An event with what proves it.',
  fields: (t) => ({
    event: t.field({ type: EventRef, resolve: ({ event }) => event }),
    proof: t.field({ type: ProofRef, resolve: ({ proof }) => proof }),
  }),
});

type CallOf = TriageCall & Pick<CallRow, 'assessment'>;

const TriageCallRef = builder.objectRef<CallOf>('TriageCall').implement({
  description: `What one call was: said, approved, done, ended. Lists hold the first ${TRIAGE_MAX.factsOfCall}.`,
  fields: (t) => ({
    call: t.field({
      type: ToolCallRef,
      resolve: ({ item, assessment }) => ({ ...item, assessment }),
    }),
    agentId: t.exposeString('agentId', { nullable: true }),
    focus: t.exposeBoolean('focus', { description: 'The alert is about it.' }),
    coverage: t.exposeString('coverage', { description: 'As the verdict of `Coverage`.' }),
    said: t.field({ type: [FactRef], resolve: ({ said }) => said }),
    approvals: t.field({ type: [FactRef], resolve: ({ approvals }) => approvals }),
    decisions: t.field({ type: [FactRef], resolve: ({ decisions }) => decisions }),
    results: t.field({ type: [FactRef], resolve: ({ results }) => results }),
    effects: t.field({
      type: [FactRef],
      description: 'Programs, changed files, connections; each once.',
      resolve: ({ effects }) => effects,
    }),
    effectCount: t.expose('effectCount', { type: 'Long' }),
    findings: t.field({ type: [FindingRef], resolve: ({ findings }) => findings }),
  }),
});

const TriageFindingRef = builder.objectRef<TriageFinding>('TriageFinding').implement({
  fields: (t) => ({
    finding: t.field({ type: FindingRef, resolve: ({ finding }) => finding }),
    evidence: t.field({
      type: [FactRef],
      description: `The first ${TRIAGE_MAX.evidenceOfFinding} of its events.`,
      resolve: ({ evidence }) => evidence,
    }),
  }),
});

const StreamRef = builder.objectRef<StreamVerdicts>('TriageStream').implement({
  fields: (t) => ({
    id: t.id({ resolve: ({ streamId }) => streamId }),
    completeness: t.field({
      type: CompletenessRef,
      nullable: true,
      resolve: ({ completeness }) => completeness ?? null,
    }),
    integrity: t.field({
      type: IntegrityRef,
      nullable: true,
      resolve: ({ integrity }) => integrity ?? null,
    }),
  }),
});

const LeftOutRef = builder.objectRef<LeftOut>('LeftOut').implement({
  fields: (t) => ({
    what: t.exposeString('what'),
    count: t.expose('count', { type: 'Long' }),
  }),
});

interface TriageRow extends Triage {
  readonly head: SessionHead;
  readonly alert?: StoredAlert;
  readonly assessment: CallRow['assessment'];
}

const TriageRef = builder.objectRef<TriageRow>('Triage').implement({
  description:
    'What an investigator needs first of a session: request, calls, approvals, results, network rules, findings, and how far they can be trusted.',
  fields: (t) => ({
    session: t.field({ type: SessionRef, resolve: ({ head }) => head }),
    alert: t.field({ type: AlertRef, nullable: true, resolve: ({ alert }) => alert ?? null }),
    focus: t.field({
      type: [FactRef],
      description: 'The events that the alert matched.',
      resolve: ({ focus }) => focus,
    }),
    request: t.field({
      type: [FactRef],
      description: 'The first prompt, and those of the turns of these calls.',
      resolve: ({ request }) => request,
    }),
    command: t.stringList({
      description: 'What was recorded.',
      resolve: ({ story }) => story.session.command,
    }),
    exitCode: t.field({
      type: 'Long',
      nullable: true,
      resolve: ({ story }) => story.session.exitCode ?? null,
    }),
    calls: t.field({
      type: [TriageCallRef],
      description: `In order; the ${TRIAGE_MAX.calls} that matter most: in focus, with findings, refused.`,
      ...costs(10, TRIAGE_MAX.calls),
      resolve: ({ calls, assessment }) => calls.map((call) => ({ ...call, assessment })),
    }),
    networkDecisions: t.field({
      type: [FactRef],
      description: 'Denials first.',
      ...costs(1, TRIAGE_MAX.networkDecisions),
      resolve: ({ networkDecisions }) => networkDecisions,
    }),
    network: t.field({
      type: [DestinationRef],
      description: 'Denied ones first.',
      ...costs(1, TRIAGE_MAX.destinations),
      resolve: ({ network }) => network,
    }),
    agents: t.field({ type: [AgentRef], resolve: ({ agents }) => agents }),
    findings: t.field({
      type: [TriageFindingRef],
      ...costs(1, TRIAGE_MAX.findings),
      resolve: ({ findings }) => findings,
    }),
    streams: t.field({
      type: [StreamRef],
      description: 'Completeness and integrity, never made one.',
      resolve: ({ data }) => data.streams,
    }),
    coverage: t.field({ type: CoverageRef, resolve: ({ coverage }) => coverage }),
    leftOut: t.field({
      type: [LeftOutRef],
      description: 'What is there and does not stand in the packet.',
      resolve: ({ leftOut }) => leftOut,
    }),
  }),
});

builder.queryFields((t) => ({
  triage: t.field({
    type: TriageRef,
    nullable: true,
    description:
      'The triage packet of a session, or of the session that an alert is about. Bounded; reads the whole session.',
    ...costs(3 * ANALYSIS_COST),
    args: {
      session: t.arg.id({ description: 'A session’s id, or "latest".' }),
      alert: t.arg.id({ description: 'An alert’s fingerprint.' }),
    },
    resolve: async (_root, args, { run, loads }) => {
      const { session, alert: fingerprint } = args;
      if ((session ?? fingerprint ?? undefined) === undefined)
        throw badInput('triage: give a session or an alert');
      const alert =
        fingerprint === undefined || fingerprint === null
          ? undefined
          : await alertByFingerprint(run, String(fingerprint));
      if (alert === undefined && !session) return null;
      const id = String(session ?? alert?.session_id);
      const head = (await findSession(run, id, loads)) ?? (await removedSession(run, id));
      if (head === undefined) return null;
      const { data, assessment, story } = await loads.whole(head);
      const focus = alert?.events.map(({ id }) => id) ?? [];
      const triage = buildTriage(data, assessment, story, focus);
      return { ...triage, head, assessment, ...(alert === undefined ? {} : { alert }) };
    },
  }),
}));
