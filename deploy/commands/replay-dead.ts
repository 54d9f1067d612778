import { parseArgs } from 'node:util';
import {
  type Clock,
  DEAD_REASONS,
  type DeadReason,
  EVENTS_TOPIC,
  type KafkaSecurity,
  type Log,
} from '#schemas';
import { createIngest } from '../../ingest/loop.ts';
import { createReplay, type ReplayCount } from '../../ingest/replay.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { committedOffsets } from '../kafka/topics.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { createMeter } from '../process/meter.ts';
import { createDetection, type Detection, overWhole, SHIPPED } from '../rules/detection.ts';
import { brokers, DEFAULT_URL, RULE_FLAGS, ruleSettings, storeUrl } from '../settings.ts';
import { openServing } from '../stores/serving.ts';
import { DEFAULT_GROUP } from './ingest.ts';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function reasonOf(text: string | undefined): DeadReason | undefined {
  const reason = DEAD_REASONS.find((one) => one === text);
  if (text !== undefined && reason === undefined)
    throw new UsageError(`--reason ${text}: give one of ${DEAD_REASONS.join(', ')}`);
  return reason;
}

const plural = (n: number): string => `${n} ${n === 1 ? 'letter' : 'letters'}`;

/** A line a reason; reasons are words of ours, so nothing of telemetry is printed. */
function report(counts: readonly ReplayCount[], dryRun: boolean): string {
  const lines = counts.map((one) => {
    const { reason, letters, stored, parkedAgain, conflict, bad, unsettled } = one;
    const parts = [
      `${stored} ${dryRun ? 'would be stored' : 'stored'}`,
      ...(parkedAgain > 0 ? [`${parkedAgain} refused again`] : []),
      ...(conflict > 0 ? [`${conflict} whose number another event has`] : []),
      ...(bad > 0 ? [`${bad} still no event`] : []),
      ...(unsettled > 0 ? [`${unsettled} not tried: a worker has not committed them yet`] : []),
    ];
    return `${reason}: ${plural(letters)}: ${parts.join(', ')}\n`;
  });
  return lines.length === 0 ? 'no dead letter stands\n' : lines.join('');
}

/** Tells letters that no worker of the group will meet again, by their place in the topic. */
async function settledBy(
  list: readonly string[],
  group: string,
  log: Log,
  security: KafkaSecurity,
) {
  const committed = await committedOffsets(list, group, log, security);
  return (origin: string): boolean => {
    const [topic, partition, offset] = origin.split('/');
    if (topic !== EVENTS_TOPIC) return true;
    return BigInt(offset ?? 0) < (committed.get(Number(partition)) ?? -1n);
  };
}

/** How long the receivers of alerts are waited for; what they lack a worker's next start tells. */
const RECEIVERS_MS = 30_000;

async function told(detection: Detection, clock: Clock): Promise<void> {
  const end = clock.monotonicNs() + BigInt(RECEIVERS_MS) * 1_000_000n;
  while (detection.waiting > 0 && clock.monotonicNs() < end) await clock.sleep(100);
}

/** `telltale ingest replay-dead`: tries dead letters again. Exit code 0 unless the store fails. */
export async function replayDead(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      reason: { type: 'string' },
      session: { type: 'string' },
      kafka: { type: 'string' },
      group: { type: 'string', default: DEFAULT_GROUP },
      'dry-run': { type: 'boolean', default: false },
      'query-url': { type: 'string', default: DEFAULT_URL },
      ...KAFKA_FLAGS,
      ...RULE_FLAGS,
    },
  });
  const url = values.store ?? storeUrl();
  if (url === undefined) throw new UsageError('give --store URL (or TELLTALE_STORE)');
  const reason = reasonOf(values.reason);
  const { session } = values;
  if (session !== undefined && !UUID.test(session))
    throw new UsageError(`--session: give a session’s UUID in lower case`);
  const log = terminalLog(true);
  const store = await openServing(url, log);
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abort.abort());
  const shared = { store, log, meter: createMeter(), clock: createClock(), random: systemRandom };
  const list = values.kafka ?? brokers();
  const kafka = list === undefined || list === '' ? undefined : list.split(',');
  // What is usual is learned from streams as they come, and no letter is a stream.
  const security = kafkaSecurity(values);
  const rules = ruleSettings({ ...values, 'no-baseline': true }, SHIPPED, kafka, security);
  // Rules of a whole tenant find what was written by themselves, wherever they run.
  const detection = createDetection(
    { ...rules, fleetRules: false, queryUrl: () => values['query-url'] },
    shared,
  );
  try {
    const detect = overWhole(detection.detect);
    const replay = createReplay({ ...shared, ingest: createIngest({ ...shared, detect }) });
    const filter = {
      ...(reason === undefined ? {} : { reason }),
      ...(session === undefined ? {} : { session }),
    };
    const dryRun = values['dry-run'];
    const settled =
      kafka === undefined ? undefined : await settledBy(kafka, values.group, log, security);
    const options = { dryRun, ...(settled === undefined ? {} : { isSettled: settled }) };
    if (!dryRun) await detection.start();
    const counts = await replay.run(filter, options, abort.signal);
    await told(detection, shared.clock);
    process.stdout.write(report(counts, dryRun));
  } finally {
    await detection.stop();
    await store.close();
  }
  return 0;
}
