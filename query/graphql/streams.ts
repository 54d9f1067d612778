/** Streams of a session: what is there, whether it is what was recorded, and what was parked. */
import {
  type Completeness,
  countRanges,
  type Integrity,
  type IntegrityFault,
  type Range,
} from '#schemas';
import { DEAD_LETTERS_MAX } from '../account-plan.ts';
import { type Accounts, sessionVerdict } from '../accounts.ts';
import type { ParkedLetter, StreamHead } from '../load.ts';
import { idOf } from '../render.ts';
import { isRemoved, removalOf } from '../retention.ts';
import { builder, costs } from './builder.ts';
import { EventRef } from './events.ts';
import { SessionRef } from './sessions.ts';

/** What accounting for a session, and recomputing a stream's chain, cost beside their fields. */
const ACCOUNT_COST = 200;
const INTEGRITY_COST = 1000;
/** The most ranges and faults that are listed; their counts are always whole. */
const LISTED_MAX = 1000;

const RangeRef = builder.objectRef<Range>('SeqRange').implement({
  description: 'Consecutive numbers of a stream, both ends included.',
  fields: (t) => ({
    first: t.field({ type: 'Long', resolve: ([first]) => first }),
    last: t.field({ type: 'Long', resolve: ([, last]) => last }),
  }),
});

const VERDICT =
  'complete: closed, every number is stored. declared: what is missing is declared. open: not closed. incomplete: numbers are missing that nobody declared.';

export const CompletenessRef = builder.objectRef<Completeness>('Completeness').implement({
  description: 'The account of one stream: produced = stored + parked + declared + unaccounted.',
  fields: (t) => ({
    verdict: t.exposeString('verdict', { description: VERDICT }),
    closed: t.exposeBoolean('closed'),
    produced: t.expose('produced', { type: 'Long', description: 'Numbers known to be given out.' }),
    stored: t.expose('stored', { type: 'Long' }),
    parked: t.expose('parked', { type: 'Long', description: 'Kept as dead letters.' }),
    declaredMissing: t.expose('declaredMissing', { type: 'Long' }),
    unnumberedLost: t.expose('unnumberedLost', {
      type: 'Long',
      description: 'Lost before they were numbered: at least so many.',
    }),
    unknownLoss: t.exposeBoolean('unknownLoss', { description: 'A gap of unknown size.' }),
    unaccountedCount: t.field({
      type: 'Long',
      description: 'Neither stored, nor parked, nor declared.',
      resolve: ({ unaccounted }) => countRanges(unaccounted),
    }),
    unaccounted: t.field({
      type: [RangeRef],
      description: `The first ${LISTED_MAX} ranges of them.`,
      resolve: ({ unaccounted }) => unaccounted.slice(0, LISTED_MAX),
    }),
  }),
});

const FaultRef = builder.objectRef<IntegrityFault>('IntegrityFault').implement({
  fields: (t) => ({
    seq: t.expose('seq', { type: 'Long', description: 'Where it shows.' }),
    kind: t.exposeString('kind', {
      description:
        'changed, checkpoint_changed, forged, wrong_key, unsigned, twice, fork, order, foreign, malformed, after_close; and what leaves events unverifiable: missing, no_key, key_lost, unknown_kind.',
    }),
    what: t.exposeString('what'),
    range: t.field({
      type: RangeRef,
      nullable: true,
      description: 'The events it lies among, where it shows later than it is.',
      resolve: ({ range }) => range ?? null,
    }),
  }),
});

export const IntegrityRef = builder.objectRef<Integrity>('Integrity').implement({
  description: 'The hash chain, recomputed from the stored rows.',
  fields: (t) => ({
    verdict: t.exposeString('verdict', {
      description:
        'intact: nothing is wrong, and the covered events are proved. broken: something was changed. unverifiable: nothing shows a change, but not all can be checked.',
    }),
    events: t.expose('events', { type: 'Long', description: 'Events that were read.' }),
    checkpoints: t.expose('checkpoints', { type: 'Long' }),
    covered: t.expose('covered', {
      type: 'Long',
      description:
        'So many events from 0 on are proved unchanged, the checkpoint that proves them included.',
    }),
    sealed: t.exposeBoolean('sealed', {
      description: 'All of the stream is proved, up to its close.',
    }),
    erased: t.expose('erased', {
      type: 'Long',
      description: 'Events of which content was erased; the chain covers commitments to it.',
    }),
    unproved: t.field({
      type: [RangeRef],
      description: 'What no checkpoint proves though one stands behind it; the first of them.',
      resolve: ({ unproved }) => unproved,
    }),
    faultCount: t.expose('faultCount', { type: 'Long' }),
    faults: t.field({
      type: [FaultRef],
      description: 'The first of them.',
      resolve: ({ faults }) => faults.slice(0, LISTED_MAX),
    }),
  }),
});

const StreamRef = builder.objectRef<StreamHead>('Stream').implement({
  description: 'One collector run within a session.',
  fields: (t) => ({
    id: t.exposeID('id'),
    startedAt: t.field({ type: 'Time', resolve: ({ startedNs }) => startedNs }),
    endedAt: t.field({ type: 'Time', resolve: ({ endedNs }) => endedNs }),
    lastSeq: t.expose('lastSeq', { type: 'Long', description: 'The highest stored number.' }),
    completeness: t.field({
      type: CompletenessRef,
      nullable: true,
      ...costs(ACCOUNT_COST),
      resolve: async ({ id, session }, _args, { loads }) =>
        (await loads.accounts(session)).get(id) ?? null,
    }),
    integrity: t.field({
      type: IntegrityRef,
      description: 'Reads the whole stream.',
      ...costs(INTEGRITY_COST),
      resolve: ({ id, session }, _args, { loads }) => loads.integrity(session, id),
    }),
  }),
});

interface SessionAccounts {
  readonly id: string;
  readonly accounts: Accounts;
}

const StreamAccountRef = builder
  .objectRef<{ readonly streamId: string; readonly account: Completeness }>('StreamAccount')
  .implement({
    fields: (t) => ({
      streamId: t.exposeID('streamId'),
      completeness: t.field({ type: CompletenessRef, resolve: ({ account }) => account }),
    }),
  });

const SessionCompletenessRef = builder.objectRef<SessionAccounts>('SessionCompleteness').implement({
  description: 'The accounts of all streams, also of those of which everything was parked.',
  fields: (t) => ({
    verdict: t.string({
      description: `The worst of its streams. ${VERDICT} removed: all that is missing was removed by retention, see \`removal\` of the session.`,
      resolve: async ({ id, accounts }, _args, { run }) => {
        const verdict = sessionVerdict([...accounts.values()].map((account) => account.verdict));
        const removal = verdict === 'incomplete' ? await removalOf(run, id) : undefined;
        const missing = [...accounts].map(
          ([stream, { unaccounted }]) => [stream, unaccounted] as const,
        );
        return removal !== undefined && isRemoved(removal, new Map(missing)) ? 'removed' : verdict;
      },
    }),
    streams: t.field({
      type: [StreamAccountRef],
      resolve: ({ accounts }) =>
        [...accounts].map(([streamId, account]) => ({ streamId, account })),
    }),
  }),
});

const DeadLetterRef = builder.objectRef<ParkedLetter>('DeadLetter').implement({
  description: 'Bytes that could not be stored as an event, and why.',
  fields: (t) => ({
    id: t.exposeID('id'),
    streamId: t.exposeString('streamId', { description: 'As far as the header said.' }),
    seq: t.expose('seq', { type: 'Long', nullable: true }),
    reason: t.exposeString('reason'),
    field: t.exposeString('field', {
      description: 'Which field or place is at fault; may hold telemetry.',
    }),
    detail: t.exposeString('detail', { description: 'In words; may hold telemetry.' }),
    origin: t.exposeString('origin'),
    parkedAt: t.field({ type: 'Time', resolve: ({ parkedNs }) => parkedNs }),
    replayedAt: t.field({
      type: 'Time',
      nullable: true,
      description: 'When it was tried again and stored; its event is on the timeline since.',
      resolve: ({ replayedNs }) => replayedNs ?? null,
    }),
  }),
});

builder.interfaceFields(EventRef, (t) => ({
  parked: t.field({
    type: [DeadLetterRef],
    description:
      'Lines of its stream that could not be stored and stand directly behind it, by number; before it where nothing stands earlier.',
    ...costs(2),
    resolve: async (event, _args, { loads }) => [
      ...((await loads.parkedBeside(event.session_id)).get(idOf(event)) ?? []),
    ],
  }),
}));

builder.objectFields(SessionRef, (t) => ({
  streams: t.field({
    type: [StreamRef],
    resolve: ({ id }, _args, { loads }) => loads.streams(id),
  }),
  completeness: t.field({
    type: SessionCompletenessRef,
    ...costs(ACCOUNT_COST),
    resolve: async ({ id }, _args, { loads }) => ({ id, accounts: await loads.accounts(id) }),
  }),
  deadLetters: t.field({
    type: [DeadLetterRef],
    description: `At most ${DEAD_LETTERS_MAX}: those that stand, oldest first, then those that were replayed.`,
    ...costs(20),
    resolve: ({ id }, _args, { loads }) => loads.deadLetters(id),
  }),
}));
