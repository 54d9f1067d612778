/** Alerts, and rules run over what is stored. */
import {
  type Alert,
  type AlertEvent,
  createViews,
  faultText,
  loadRules,
  parseEventId,
  RULE_FILE_BYTES_MAX,
} from '#schemas';
import { alertPage, type StoredAlert } from '../alerts.ts';
import { readAlertCursor } from '../cursor.ts';
import { badInput } from '../errors.ts';
import { type Hunt, hunt } from '../hunt.ts';
import { PAGE_DEFAULT, PAGE_MAX, pageSize } from '../plan.ts';
import { eventOf } from '../render.ts';
import { eventPlan } from '../timeline-plan.ts';
import { builder, costs, needs } from './builder.ts';
import { EventRef } from './events.ts';
import { connectionOf } from './page.ts';
import { SessionRef } from './sessions.ts';

const PAGE_COST = 20;
/** A backtest reads as much as the whole of a request may cost otherwise. */
const BACKTEST_COST = 20_000;
/** Alerts of one backtest that are told; their number is always whole. */
const BACKTEST_ALERTS_MAX = 10_000;
/** Events that one alert usually has. */
const ALERT_EVENTS = 5;
const SIZE = `At most ${PAGE_MAX}, more is taken as ${PAGE_MAX}; ${PAGE_DEFAULT} where nothing is said.`;

const MatchedEventRef = builder.objectRef<AlertEvent>('MatchedEvent').implement({
  description: 'An event that took part in a match.',
  fields: (t) => ({
    id: t.exposeID('id'),
    ts: t.field({ type: 'Time', resolve: ({ ts }) => ts }),
    event: t.field({
      type: EventRef,
      nullable: true,
      ...costs(PAGE_COST),
      resolve: async ({ id }, _args, { run }) => {
        const key = parseEventId(id);
        if (key === undefined) return null;
        const [row] = await run.rows(eventPlan(run.tenant, key.stream_id, key.seq));
        return row === undefined ? null : eventOf(row);
      },
    }),
  }),
});

interface KeyEntry {
  readonly field: string;
  readonly value: string;
}
const AlertKeyRef = builder.objectRef<KeyEntry>('AlertKey').implement({
  description: 'A field that the rule groups by, and its value.',
  fields: (t) => ({ field: t.exposeString('field'), value: t.exposeString('value') }),
});

export const AlertRef = builder.objectRef<Alert>('Alert');
AlertRef.implement({
  description:
    'What a rule found. The same match has the same fingerprint, live and in a backtest.',
  fields: (t) => ({
    fingerprint: t.exposeID('fingerprint'),
    ruleId: t.string({ resolve: ({ rule }) => rule.id }),
    title: t.string({ resolve: ({ rule }) => rule.title }),
    level: t.string({
      description: 'informational, low, medium, high, critical.',
      resolve: ({ rule }) => rule.level,
    }),
    author: t.string({ resolve: ({ rule }) => rule.author }),
    license: t.string({ resolve: ({ rule }) => rule.license }),
    tags: t.stringList({
      description: 'ATT&CK and ATLAS techniques, as the rule has them.',
      resolve: ({ rule }) => [...rule.tags],
    }),
    sessionId: t.exposeID('session_id'),
    key: t.field({
      type: [AlertKeyRef],
      resolve: ({ key }) => Object.entries(key).map(([field, value]) => ({ field, value })),
    }),
    events: t.field({
      type: [MatchedEventRef],
      description: 'In the order in which the rule matched them.',
      ...costs(1, ALERT_EVENTS),
      resolve: ({ events }) => [...events],
    }),
    reason: t.exposeString('reason', { description: 'Why, in words, where the rule says more.' }),
    raisedAt: t.field({
      type: 'Time',
      nullable: true,
      description: 'When it was stored; null in a backtest.',
      resolve: (alert) => ('raisedMs' in alert ? `${(alert as StoredAlert).raisedMs}000000` : null),
    }),
    state: t.string({
      nullable: true,
      description:
        'raised; withdrawn: a late event proved it wrong; acknowledged, resolved: by a person. Null in a backtest.',
      resolve: (alert) => ('state' in alert ? (alert as StoredAlert).state : null),
    }),
  }),
});
const AlertConnection = connectionOf<Alert>('Alert', AlertRef as never);

export const AlertFilterInput = builder.inputType('AlertFilter', {
  description: 'All that is given must hold.',
  fields: (t) => ({
    rule: t.string({ description: 'A rule’s id.' }),
    levels: t.stringList(),
    raisedFrom: t.field({ type: 'Time', description: 'Raised at or after.' }),
    raisedBefore: t.field({ type: 'Time', description: 'Raised before.' }),
  }),
});

const BacktestRef = builder.objectRef<Hunt>('Backtest').implement({
  description: 'What rules say of stored events: the same that they would have said live.',
  fields: (t) => ({
    alerts: t.field({
      type: [AlertRef],
      description: `The first ${BACKTEST_ALERTS_MAX}, by the time of the last event.`,
      ...costs(1, PAGE_DEFAULT),
      resolve: ({ alerts }) => alerts.slice(0, BACKTEST_ALERTS_MAX),
    }),
    alertCount: t.field({ type: 'Long', resolve: ({ alerts }) => alerts.length }),
    sessions: t.field({
      type: 'Long',
      description: 'Sessions of which a rule could have said something.',
      resolve: ({ stats }) => stats.sessions,
    }),
    events: t.field({
      type: 'Long',
      description: 'Events that were read of them.',
      resolve: ({ stats }) => stats.events,
    }),
  }),
});

/** The rules of a request. Throws `QueryError` that names each fault with its line. */
function rulesOf(text: string) {
  if (Buffer.byteLength(text) > RULE_FILE_BYTES_MAX)
    throw badInput(`rules: at most ${RULE_FILE_BYTES_MAX} bytes`);
  const { rules, faults } = loadRules([{ file: 'rules', text }]);
  if (faults.length > 0) throw badInput(faults.map(faultText).join('; ').slice(0, 4000));
  return rules;
}

builder.objectFields(SessionRef, (t) => ({
  alerts: t.field({
    type: AlertConnection,
    description: 'What rules found in this session, newest first.',
    ...costs(PAGE_COST),
    args: { first: t.arg.int({ description: SIZE }), after: t.arg.string() },
    resolve: ({ id }, { first, after }, { run }) => {
      const place = after === undefined || after === null ? undefined : readAlertCursor(after);
      return alertPage(run, pageSize(first), { session: id }, place);
    },
  }),
}));

builder.queryFields((t) => ({
  alerts: t.field({
    type: AlertConnection,
    description: 'What rules found, newest first.',
    ...costs(PAGE_COST),
    args: {
      first: t.arg.int({ description: SIZE }),
      after: t.arg.string(),
      filter: t.arg({ type: AlertFilterInput }),
    },
    resolve: (_root, { first, after, filter }, { run }) => {
      const place = after === undefined || after === null ? undefined : readAlertCursor(after);
      return alertPage(run, pageSize(first), filter ?? {}, place);
    },
  }),
  backtest: t.field({
    type: BacktestRef,
    description: 'Runs rules, Sigma or EQL in YAML, over the events of a time.',
    ...needs('investigator', costs(BACKTEST_COST)),
    args: {
      rules: t.arg.string({ required: true, description: 'Rule files, parted by "---".' }),
      from: t.arg({ type: 'Time', required: true }),
      to: t.arg({ type: 'Time', required: true }),
    },
    resolve: (_root, { rules, from, to }, { run }) =>
      hunt(run, { rules: rulesOf(rules), views: () => createViews().views, span: { from, to } }),
  }),
}));
