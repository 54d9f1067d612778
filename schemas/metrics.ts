/**
 * Every metric of every service: the closed list that the `Meter` port is typed by, and that the
 * instruments, the reference (`deploy/telemetry/METRICS.md`) and the tests of alert rules come from.
 *
 * A label's values are a closed list of words of ours, never a text that was recorded: whoever may
 * choose a label's value may fill the memory of whatever stores metrics. What is in no list is
 * `OTHER_VALUE`, as OpenTelemetry's semantic conventions have it for `error.type` and methods.
 */
import { DEAD_REASONS, GAP_REASONS } from './reasons.ts';

export type Instrument = 'counter' | 'gauge' | 'histogram';

/** One instrument; its name is its key in `METRICS`. */
export interface Metric {
  readonly instrument: Instrument;
  /** UCUM, as OpenTelemetry writes units: `s`, `By`, `{event}`. */
  readonly unit: string;
  readonly doc: string;
  /** Attributes and the values that each may have, beside `OTHER_VALUE`. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** The upper bounds of a histogram's buckets. */
  readonly bounds?: readonly number[];
}

export const OTHER_VALUE = '_OTHER';

/** The codes of `StoreFault`. */
const STORE_FAULTS = ['unreachable', 'unknown', 'refused', 'busy', 'limit', 'closed'] as const;
/** The receivers of alerts. */
export const SINK_NAMES = ['alertmanager', 'webhook', 'topic'] as const;
const CHANNELS = ['otlp', 'files', 'hook'] as const;
/** What a query may be refused or fail with, as its caller reads it. */
export const REFUSAL_CODES = [
  'BAD_USER_INPUT',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'NOT_FOUND',
  'REQUEST_TOO_LARGE',
  'SESSION_TOO_LARGE',
  'WRONG_CONTENT_TYPE',
  'WRONG_HOST',
  'RATE_LIMITED',
  'QUERY_LIMIT_REACHED',
  'STORE_UNAVAILABLE',
  'JOURNAL_UNAVAILABLE',
  'IDENTITY_UNAVAILABLE',
] as const;
/** Statuses that our services answer with; another one is `OTHER_VALUE`. */
export const HTTP_STATUSES = [
  ...([
    '200',
    '204',
    '206',
    '304',
    '400',
    '401',
    '403',
    '404',
    '405',
    '409',
    '411',
    '413',
  ] as const),
  ...(['415', '421', '422', '429', '499', '500', '503'] as const),
] as const;
const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'] as const;
/** Route patterns as they are mounted, never a path that somebody asked for. */
export const HTTP_ROUTES = [
  '/healthz',
  '/readyz',
  '/graphql',
  '/v1/frames',
  '/v1/sessions',
  '/v1/sessions/:id/story',
  '/v1/sessions/:id/events',
  '/v1/sessions/:id/export',
  '/v1/sessions/:id/removal',
  '/tlog/checkpoint',
  '/tlog/tile/*',
  '/add-checkpoint',
  '/:hash/checkpoint',
] as const;
const DATABASE_OPERATIONS = ['SELECT', 'INSERT', 'COMMAND', 'PING'] as const;
const COVERAGES = ['complete', 'partial', 'none'] as const;
/** What `/readyz` and `/healthz` look at. */
export const HEALTH_CHECKS = ['store', 'schema', 'consumer', 'sealer', 'disk'] as const;
export type HealthCheck = (typeof HEALTH_CHECKS)[number];

/** Of the semantic conventions for durations in seconds, with longer ones behind. */
const SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;
const DELAYS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600] as const;
const COUNTS = [1, 10, 100, 1_000, 5_000, 10_000, 50_000, 100_000] as const;
const BYTES = [1e3, 1e4, 1e5, 1e6, 4e6, 16e6, 64e6] as const;

const counter = (unit: string, doc: string) => ({ instrument: 'counter', unit, doc }) as const;
const gauge = (unit: string, doc: string) => ({ instrument: 'gauge', unit, doc }) as const;
const histogram = <const B extends readonly number[]>(unit: string, doc: string, bounds: B) =>
  ({ instrument: 'histogram', unit, doc, bounds }) as const;

const MESSAGING = { 'messaging.system': ['kafka', 'http'] } as const;

/** The metrics, by name. To add one: a line here, then `npm run gen`. */
export const METRICS = {
  // Collector
  'telltale.collector.events': counter('{event}', 'Events that were numbered and put in a spool.'),
  'telltale.collector.events_dropped': counter(
    '{event}',
    'Events that a full spool had no room for; each is in a declared gap.',
  ),
  'telltale.collector.events_shipped': counter(
    '{event}',
    'Events whose receiver has them for good.',
  ),
  'telltale.collector.gaps': {
    ...counter('{gap}', 'Gaps that a collector declared.'),
    labels: { reason: GAP_REASONS },
  },
  'telltale.collector.ship_failures': counter(
    '{failure}',
    'Deliveries that failed and are repeated.',
  ),
  'telltale.collector.spool_size': gauge('By', 'Bytes that wait in the spool to be shipped.'),
  'messaging.client.operation.duration': {
    ...histogram('s', 'One frame, from sending it to its acknowledgement.', SECONDS),
    labels: { ...MESSAGING, 'error.type': ['ShipError'] },
  },
  'messaging.client.sent.messages': {
    ...counter('{message}', 'Frames that were acknowledged.'),
    labels: MESSAGING,
  },
  'telltale.agents.records': {
    ...counter('{record}', 'Records of an agent’s own telemetry.'),
    labels: { channel: CHANNELS, outcome: ['mapped', 'ignored', 'unknown', 'failed'] },
  },
  'telltale.agents.metric_points': counter('{point}', 'Metric points that an agent sent.'),
  'telltale.agents.requests_refused': {
    ...counter('{request}', 'Requests of an agent that the receiver refused.'),
    labels: { status: HTTP_STATUSES },
  },
  // Ingest
  'messaging.client.consumed.messages': {
    ...counter('{message}', 'Frames that came in a batch, over Kafka or HTTP.'),
    labels: MESSAGING,
  },
  'messaging.process.duration': {
    ...histogram('s', 'One batch, from taking it to its last row in the table.', SECONDS),
    labels: { ...MESSAGING, 'error.type': [...STORE_FAULTS] },
  },
  'telltale.ingest.stored': counter('{event}', 'Events that became rows.'),
  'telltale.ingest.duplicates': counter('{event}', 'Events that the table had already.'),
  'telltale.ingest.parked': {
    ...counter('{letter}', 'Lines that were parked as dead letters.'),
    labels: { reason: DEAD_REASONS },
  },
  'telltale.ingest.batch_events': histogram('{event}', 'Events of one batch.', COUNTS),
  'telltale.ingest.batch_size': histogram('By', 'Bytes of the frames of one batch.', BYTES),
  'telltale.ingest.batches': counter('{batch}', 'Batches that were stored and committed.'),
  'telltale.ingest.retries': {
    ...counter('{retry}', 'Statements of ingest that are repeated, by why they failed.'),
    labels: { code: STORE_FAULTS },
  },
  'telltale.ingest.lag': gauge('{message}', 'Messages that the whole group has not committed yet.'),
  'telltale.ingest.watermark_delay': histogram(
    's',
    'From a message’s time in the log until its batch is stored.',
    DELAYS,
  ),
  'telltale.ingest.gaps': {
    ...counter('{gap}', 'Declared gaps that came in; one that comes again counts again.'),
    labels: { reason: GAP_REASONS },
  },
  'telltale.ingest.gap_events': counter('{event}', 'Events that those gaps declare as missing.'),
  'telltale.ingest.sensors': {
    ...counter('{sensor}', 'What kernel sensors said that they cover, as sessions began.'),
    labels: { coverage: COVERAGES },
  },
  'telltale.ingest.http_busy': counter(
    '{request}',
    'Frames over HTTP that were told to come again.',
  ),
  'telltale.ingest.replayed': {
    ...counter('{letter}', 'Dead letters that were replayed.'),
    labels: { outcome: ['stored', 'parkedAgain', 'conflict'] },
  },
  // Rules and alerts
  'telltale.detect.hits': gauge('{hit}', 'Partial matches that rules hold.'),
  'telltale.detect.groups': gauge('{group}', 'Groups of correlations that rules hold.'),
  'telltale.detect.evicted': counter(
    '{state}',
    'States of rules that were let go for want of room.',
  ),
  'telltale.detect.failures': counter(
    '{failure}',
    'Rules that failed; their session is begun anew.',
  ),
  'telltale.detect.rereads': counter(
    '{session}',
    'Sessions read again for an event that came late.',
  ),
  'telltale.detect.alerts': counter('{alert}', 'Alerts that were raised.'),
  'telltale.detect.alerts_suppressed': counter(
    '{alert}',
    'Alerts beyond one rule’s most in a session.',
  ),
  'telltale.detect.alert_latency': histogram(
    's',
    'From an alert’s last event until the alert is in the table.',
    DELAYS,
  ),
  'telltale.fleet.rows': counter('{row}', 'Alerts of rules over a whole tenant.'),
  'telltale.fleet.rereads': counter('{read}', 'Times that a tenant’s window was read again.'),
  'telltale.fleet.failures': counter('{failure}', 'Rounds of rules over a tenant that failed.'),
  'telltale.fleet.seen': gauge('{event}', 'Events that those rules know.'),
  'telltale.fleet.hits': gauge('{hit}', 'Partial matches that those rules hold.'),
  'telltale.fleet.evicted': gauge('{state}', 'States of those rules that were let go.'),
  'telltale.baseline.streams': {
    ...counter('{stream}', 'Finished streams that the baseline looked at.'),
    labels: { learned: ['true', 'false'] },
  },
  'telltale.baseline.failures': counter('{failure}', 'Streams that the baseline failed on.'),
  'telltale.alerts.delivered': {
    ...counter('{alert}', 'Alerts that a receiver has taken.'),
    labels: { sink: SINK_NAMES },
  },
  'telltale.alerts.given_up': {
    ...counter('{alert}', 'Alerts that a receiver never took; they are in the table.'),
    labels: { sink: SINK_NAMES },
  },
  'telltale.alerts.refused': {
    ...counter('{alert}', 'Alerts that a receiver refused for good.'),
    labels: { sink: SINK_NAMES },
  },
  'telltale.alerts.resumed': {
    ...counter('{alert}', 'Alerts that were told again after a restart.'),
    labels: { sink: SINK_NAMES },
  },
  'telltale.alerts.notes_dropped': counter('{note}', 'Notes of deliveries that found no room.'),
  // Query
  'http.server.request.duration': {
    ...histogram('s', 'One request, to the last byte of its answer.', SECONDS),
    labels: {
      'http.request.method': HTTP_METHODS,
      'http.route': HTTP_ROUTES,
      'http.response.status_code': HTTP_STATUSES,
    },
  },
  'telltale.query.accesses': counter('{access}', 'Accesses that were opened.'),
  'telltale.query.refused': {
    ...counter('{request}', 'Requests of whoever showed no right to be here.'),
    labels: { code: REFUSAL_CODES },
  },
  'telltale.query.errors': counter('{error}', 'Errors whose words a caller is not shown.'),
  'telltale.query.abandoned': counter('{statement}', 'Statements whose caller went away.'),
  'telltale.query.store_faults': {
    ...counter('{statement}', 'Statements that the store failed.'),
    labels: { code: STORE_FAULTS },
  },
  'telltale.query.journal_failures': counter(
    '{access}',
    'Accesses that could not be written down; what they asked for was refused.',
  ),
  'telltale.query.live_views': gauge('{view}', 'Live views that are open.'),
  // Store
  'db.client.operation.duration': {
    ...histogram('s', 'One statement or insert, to its last row.', SECONDS),
    labels: {
      'db.system.name': ['clickhouse'],
      'db.operation.name': DATABASE_OPERATIONS,
      'error.type': STORE_FAULTS,
    },
  },
  // Transparency log and witness
  'telltale.seal.streams': gauge('{stream}', 'Streams that the log knows.'),
  'telltale.seal.tree_size': gauge('{leaf}', 'Leaves of the published tree.'),
  'telltale.seal.cosignatures': gauge('{signature}', 'Cosignatures of the published tree.'),
  'telltale.seal.leaves': counter('{leaf}', 'Heads that were sealed.'),
  'telltale.seal.failures': counter('{round}', 'Rounds of the sealer that failed.'),
  'telltale.seal.round_time': gauge('s', 'When the last whole round ended, in Unix time.'),
  'telltale.seal.cosigned_time': gauge('s', 'When a witness cosigned last, in Unix time.'),
  'telltale.seal.witness_failures': counter('{failure}', 'Witnesses that gave no cosignature.'),
  'telltale.seal.contradictions': counter(
    '{head}',
    'Heads that contradict a sealed one: tampering.',
  ),
  'telltale.seal.missing': counter('{head}', 'Heads that were seen and then were not there.'),
  'telltale.seal.invalid': counter('{head}', 'Heads that no collector can have made.'),
  'telltale.witness.answers': {
    ...counter('{answer}', 'Answers of a witness.'),
    labels: { status: HTTP_STATUSES },
  },
  'telltale.witness.cosigned_time': gauge('s', 'When it cosigned last, in Unix time.'),
  // Process, by the names of the semantic conventions
  'process.cpu.time': {
    ...counter('s', 'Processor time that the process has taken.'),
    labels: { 'cpu.mode': ['user', 'system'] },
  },
  'process.memory.usage': gauge('By', 'Memory of the process that is in RAM.'),
  'process.uptime': gauge('s', 'How long the process has run.'),
  'process.unix.file_descriptor.count': gauge(
    '{file_descriptor}',
    'Files and connections that the process has open.',
  ),
  'nodejs.eventloop.utilization': gauge('1', 'How much of the time the event loop was at work.'),
  'nodejs.eventloop.delay.p50': gauge(
    's',
    'How late the event loop comes to a timer, half of them.',
  ),
  'nodejs.eventloop.delay.p99': gauge('s', 'The same, for 99 of 100.'),
  'nodejs.eventloop.delay.max': gauge('s', 'The latest since it was last said.'),
  'telltale.health.check': {
    ...gauge('1', '1 where a check of /readyz or /healthz passes, 0 where it fails.'),
    labels: { check: HEALTH_CHECKS, probe: ['ready', 'live'] },
  },
} as const satisfies Readonly<Record<string, Metric>>;

type Catalog = typeof METRICS;
export type MetricName = keyof Catalog;
type NamesOf<I extends Instrument> = {
  [N in MetricName]: Catalog[N]['instrument'] extends I ? N : never;
}[MetricName];
export type CounterName = NamesOf<'counter'>;
export type GaugeName = NamesOf<'gauge'>;
export type HistogramName = NamesOf<'histogram'>;

/** What may be said of one measurement: only words of the list. */
export type LabelsOf<N extends MetricName> = Catalog[N] extends { readonly labels: infer L }
  ? {
      readonly [K in keyof L]?:
        | (L[K] extends readonly (infer V)[] ? V : never)
        | typeof OTHER_VALUE;
    }
  : Readonly<Record<never, never>>;

/** A text as a label's value: itself where it is in the list, else `OTHER_VALUE`. */
export const labelOf = <const V extends string>(
  values: readonly V[],
  text: string,
): V | typeof OTHER_VALUE => values.find((value) => value === text) ?? OTHER_VALUE;
