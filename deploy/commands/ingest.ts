import { parseArgs } from 'node:util';
import { createConsumer } from '../../ingest/consume.ts';
import { createIngest } from '../../ingest/loop.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { runParts, UsageError } from '../process/lifecycle.ts';
import { createDetection, SHIPPED } from '../rules/detection.ts';
import { brokers, DEFAULT_URL, RULE_FLAGS, ruleSettings, storeUrl } from '../settings.ts';
import { openServing } from '../stores/serving.ts';
import { consumerChecks, storeChecks } from '../telemetry/checks.ts';
import { healthPart, observeService, startingHealth } from '../telemetry/service.ts';
import { HEALTH_FLAG } from '../telemetry/settings.ts';
import { tallied } from '../telemetry/tally.ts';

export const DEFAULT_GROUP = 'telltale-ingest';

/** `telltale ingest`: the worker, until SIGINT or SIGTERM; or its sub-command `replay-dead`. */
export async function ingest(args: string[]): Promise<number> {
  if (args[0] === 'replay-dead')
    return (await import('./replay-dead.ts')).replayDead(args.slice(1));
  const { values } = parseArgs({
    args,
    options: {
      kafka: { type: 'string' },
      store: { type: 'string' },
      group: { type: 'string', default: DEFAULT_GROUP },
      'query-url': { type: 'string', default: DEFAULT_URL },
      'fleet-rules': { type: 'boolean', default: false },
      ...HEALTH_FLAG,
      ...KAFKA_FLAGS,
      ...RULE_FLAGS,
    },
  });
  const list = values.kafka ?? brokers();
  const url = values.store ?? storeUrl();
  const faults = [
    ...(list === undefined ? ['--kafka HOST:PORT,… (or KAFKA_BROKERS)'] : []),
    ...(url === undefined ? ['--store URL (or TELLTALE_STORE)'] : []),
  ];
  if (list === undefined || url === undefined) throw new UsageError(`give ${faults.join(' and ')}`);
  const clock = createClock();
  const observed = await observeService('ingest', values.health, clock);
  const { log, telemetry } = observed;
  const { meter, tracer } = telemetry;
  const starting = startingHealth(observed, clock);
  const health = healthPart(observed, starting.health);
  await health.start();
  const store = telemetry.store(await openServing(url, log, Number.POSITIVE_INFINITY));
  const shared = { store, log, meter, tracer, clock, random: systemRandom };
  const security = kafkaSecurity(values);
  const rules = ruleSettings(values, SHIPPED, list.split(','), security);
  const detection = createDetection(
    { ...rules, fleetRules: values['fleet-rules'], queryUrl: () => values['query-url'] },
    shared,
  );
  const consumer = createConsumer({
    ...shared,
    ingest: createIngest({ ...shared, detect: tallied(detection.detect, meter) }),
    brokers: list.split(','),
    security,
    groupId: values.group,
  });
  starting.become([...storeChecks(store), ...consumerChecks(consumer, store, clock)]);
  try {
    await runParts([health, detection, consumer], log, consumer.failed);
  } finally {
    await store.close();
  }
  return 0;
}
