/** Which services say which metrics, by the beginning of the metric's name. */
import { METRICS, type MetricName } from '#schemas';

export type ServiceName = 'up' | 'ingest' | 'query' | 'seal' | 'witness' | 'collector';

const INGEST: readonly ServiceName[] = ['ingest', 'up'];
const SERVICES: readonly ServiceName[] = ['ingest', 'query', 'seal', 'up', 'witness'];
const ALL: readonly ServiceName[] = [...SERVICES, 'collector'];
/** Collectors, and the service that keeps the journal of accesses in a spool as they do. */
const SPOOLS: readonly ServiceName[] = ['collector', 'query', 'up'];

const SAID_BY: Readonly<Record<string, readonly ServiceName[]>> = {
  'messaging.client.operation': SPOOLS,
  'messaging.client.sent': SPOOLS,
  'messaging.client.consumed': INGEST,
  'messaging.process': INGEST,
  'telltale.collector': SPOOLS,
  'telltale.agents': ['collector'],
  'telltale.ingest': INGEST,
  'telltale.detect': INGEST,
  'telltale.fleet': INGEST,
  'telltale.baseline': INGEST,
  'telltale.alerts': INGEST,
  'http.server': ['query', 'up', 'seal', 'witness'],
  'telltale.query': ['query', 'up'],
  'db.client': ['ingest', 'query', 'seal', 'up'],
  'telltale.seal': ['seal', 'up'],
  'telltale.witness': ['witness'],
  process: ALL,
  'nodejs.eventloop': ALL,
  'telltale.health': SERVICES,
};

/** The services that say a metric. Throws for one that stands under no name here. */
export function servicesOf(name: MetricName): readonly ServiceName[] {
  const prefix = Object.keys(SAID_BY).find((one) => name.startsWith(`${one}.`));
  if (prefix === undefined) throw new Error(`deploy/telemetry/services.ts: who says ${name}?`);
  return SAID_BY[prefix] as readonly ServiceName[];
}

/** The metrics of one service. */
export const metricsOf = (service: ServiceName): readonly MetricName[] =>
  (Object.keys(METRICS) as MetricName[]).filter((name) => servicesOf(name).includes(service));
