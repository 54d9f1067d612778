import { parseArgs } from 'node:util';
import { ensureTopics, TOPIC_DEFAULTS } from '../kafka/topics.ts';
import { migrate } from '../migrate.ts';
import { UsageError } from '../process/lifecycle.ts';
import { serviceLog } from '../process/log.ts';
import { brokers, integerOf, logLevel, storeUrl } from '../settings.ts';
import { openStore } from '../stores/open.ts';

const PARTITIONS_MAX = 10_000;

/** `telltale migrate`: the store's schema, and with brokers the topic. */
export async function migrateCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      kafka: { type: 'string' },
      partitions: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  const log = serviceLog('migrate', logLevel());
  const url = values.store ?? storeUrl();
  const list = values.kafka ?? brokers();
  if (url === undefined && list === undefined)
    throw new UsageError('say what to migrate: --store, --kafka or both');
  if (url !== undefined) {
    const store = await openStore(url, { log });
    try {
      await migrate(store, { log, dryRun: values['dry-run'] });
    } finally {
      await store.close();
    }
  }
  if (list !== undefined && !values['dry-run']) {
    const partitions = integerOf(
      'partitions',
      values.partitions,
      TOPIC_DEFAULTS.partitions,
      PARTITIONS_MAX,
    );
    const topic = await ensureTopics(list.split(','), { partitions }, log);
    log.info('topic.ready', { created: topic.created, partitions: topic.partitions });
  }
  return 0;
}
