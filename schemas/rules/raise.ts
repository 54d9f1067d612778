/**
 * From what matched to an alert: the same for the live engine and for a backtest, so that both give
 * an alert the same fingerprint.
 */
import { type Alert, makeAlert } from '../alerts.ts';
import type { TelltaleEvent } from '../registry.ts';
import { type KeptHit, keepHit } from './hits.ts';
import type { Standing } from './ordered.ts';
import type { Hit, Rule, StreamMatcher } from './rule.ts';
import type { LogView, RuleEvent } from './values.ts';

/** Whether a rule's state stays within a session, or is shared by the sessions of a tenant. */
export type Scope = 'session' | 'tenant';

/** Names of the session in the views of both languages. */
export const SESSION_FIELDS: ReadonlySet<string> = new Set([
  'session_id',
  'session.id',
  'stream_id',
]);

/** A rule over many events, with its matcher at hand. */
export interface StreamRule extends Rule {
  readonly matcher: { readonly type: 'stream'; readonly stream: StreamMatcher };
}

export const isStreamRule = (rule: Rule): rule is StreamRule => rule.matcher.type === 'stream';

/** A rule is of the session when one of its keys is the session in each of its inputs. */
export function scopeOf(rule: Rule): Scope {
  if (!isStreamRule(rule)) return 'session';
  const { groupBy } = rule.matcher.stream;
  const within = groupBy[0]?.some((_, at) =>
    groupBy.every((keys) => SESSION_FIELDS.has(keys[at] as string)),
  );
  return within === true ? 'session' : 'tenant';
}

/** What a rule's state never reaches beyond, as text: a session of a tenant, or the tenant. */
export const groupKey = (tenant: string, session: string, scope: Scope): string =>
  scope === 'session' ? `${tenant.length} ${tenant} ${session}` : `all ${tenant}`;

/**
 * The time by which rules order an event: its own, but never later than the collector saw it. A
 * made-up time in the future would let everything before it expire.
 */
export function ruleTimeNs({ ts, observed_ts }: Pick<TelltaleEvent, 'ts' | 'observed_ts'>): bigint {
  // Times have 19 digits, so the earlier text is the earlier time.
  return BigInt(ts < observed_ts ? ts : observed_ts);
}

/** The views of an event; it is called once for each event, in the order of its stream. */
export type Views = (event: TelltaleEvent) => readonly LogView[];

/** An event as rules take it; made where something matched, and so for few. */
export function ruleEvent(event: TelltaleEvent, views: readonly LogView[]): RuleEvent {
  return { id: `${event.stream_id}-${event.seq}`, timeNs: ruleTimeNs(event), views };
}

/** An event that a stream rule's tests held for, with all of the event behind it. */
export function foundHit(
  { stream_id, session_id, seq }: TelltaleEvent,
  { timeNs }: RuleEvent,
  hits: readonly Hit[],
): KeptHit {
  return { session: session_id, timeNs, stream: stream_id, seq, hits };
}

/** The same with no more of the event than the rule reads. */
export const keptHit = (hit: KeptHit, rule: StreamRule): KeptHit =>
  keepHit(hit, rule.matcher.stream.fields);

function alertRule({ meta }: Rule): Alert['rule'] {
  return {
    id: meta.id,
    title: meta.title,
    level: meta.level ?? 'medium',
    author: meta.author ?? '',
    license: meta.license ?? '',
    tags: meta.tags,
  };
}

/** The alert of a rule that one event is enough for. */
export function eventAlert(event: TelltaleEvent, { id, timeNs }: RuleEvent, rule: Rule): Alert {
  return makeAlert({
    tenant: event.tenant,
    rule: alertRule(rule),
    session_id: event.session_id,
    key: {},
    events: [{ id, ts: timeNs.toString() }],
    reason: '',
  });
}

/** The alert of a firing that stands. */
export function streamAlert(tenant: string, rule: StreamRule, { key, parts }: Standing): Alert {
  const names = rule.matcher.stream.groupBy[0] ?? [];
  return makeAlert({
    tenant,
    rule: alertRule(rule),
    session_id: parts[0]?.session ?? '',
    key: Object.fromEntries(key.map((value, at) => [names[at] ?? `key${at}`, value])),
    events: parts.map(({ id, timeNs }) => ({ id, ts: timeNs.toString() })),
    reason: '',
  });
}
