import os from 'node:os';
import { parseArgs } from 'node:util';
import type { Log } from '#schemas';
import { clusterStatements } from '../clickhouse/cluster.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { ensureTopics, TOPIC_DEFAULTS } from '../kafka/topics.ts';
import { migrate, touchedBy } from '../migrate.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { serviceLog } from '../process/log.ts';
import { brokers, integerOf, logLevel, storeUrl } from '../settings.ts';
import { openStore } from '../stores/open.ts';

const PARTITIONS_MAX = 10_000;

const amount = (value: number | undefined, unit: string): string =>
  value === undefined ? `no ${unit}` : `${value} ${unit}`;

/** Prints each statement that would run, and what there is of the table that it is about. */
async function printPlan(url: string, log: Log, cluster?: string): Promise<void> {
  const store = await openStore(url, { log });
  try {
    const { applied, known } = await migrate(store, { log, dryRun: true });
    for (const step of applied) {
      const { table, rows, bytes } = await touchedBy(store, step);
      const there =
        rows === undefined && bytes === undefined
          ? 'not there yet'
          : `${amount(rows, 'rows')}, ${amount(bytes, 'bytes')} now`;
      const texts = cluster === undefined ? [step.text] : clusterStatements(step.text, cluster);
      process.stdout.write(
        `-- ${step.migration} statement ${step.statement}: ${table}, ${there}\n${texts.join(';\n')};\n\n`,
      );
    }
    process.stdout.write(`-- ${applied.length} statements would run, ${known} have run\n`);
  } finally {
    await store.close();
  }
}

async function migrateStore(url: string, log: Log, cluster?: string): Promise<void> {
  const store = await openStore(url, { log });
  const holder = `${os.hostname()} process ${process.pid}`;
  const lease = { clock: createClock(), random: systemRandom, holder };
  try {
    await migrate(store, {
      log,
      ...(url.startsWith('chdb:') ? {} : { lease }),
      ...(cluster && { rewrite: (text: string) => clusterStatements(text, cluster) }),
    });
  } finally {
    await store.close();
  }
}

/** `telltale migrate`: the store's schema, and with brokers the topic. */
export async function migrateCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      kafka: { type: 'string' },
      cluster: { type: 'string' },
      partitions: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
      ...KAFKA_FLAGS,
    },
  });
  const log = serviceLog('migrate', logLevel());
  const url = values.store ?? storeUrl();
  const list = values.kafka ?? brokers();
  if (url === undefined && list === undefined)
    throw new UsageError('say what to migrate: --store, --kafka or both');
  if (values.cluster !== undefined && url?.startsWith('chdb:'))
    throw new UsageError('--cluster is for servers: an embedded store is one process');
  if (url !== undefined)
    await (values['dry-run'] ? printPlan : migrateStore)(url, log, values.cluster);
  if (list !== undefined && !values['dry-run']) {
    const partitions = integerOf(
      'partitions',
      values.partitions,
      TOPIC_DEFAULTS.partitions,
      PARTITIONS_MAX,
    );
    const security = kafkaSecurity(values);
    const topic = await ensureTopics(list.split(','), { partitions }, log, security);
    log.info('topic.ready', { created: topic.created, partitions: topic.partitions });
  }
  return 0;
}
