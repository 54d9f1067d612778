import { parseArgs } from 'node:util';
import type { KafkaSecurity } from '#schemas';
import { escapeText } from '../../query/timeline/escape.ts';
import type { Check } from '../doctor/check.ts';
import { lookAtFiles } from '../doctor/files.ts';
import { lookAtKafka } from '../doctor/kafka.ts';
import { lookAtMachine } from '../doctor/machine.ts';
import { lookAtStore } from '../doctor/store.ts';
import { type FeedOption, feedOf } from '../feed.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { brokers, dataDir, spoolDir, storeUrl } from '../settings.ts';

const WORDS = { ok: 'ok   ', warn: 'warn ', fail: 'FAILS' } as const;

export interface DoctorOptions {
  readonly store?: string | undefined;
  readonly kafka?: string | undefined;
  readonly security?: KafkaSecurity;
  readonly data?: string;
  readonly spool: string;
  /** The output of a host's sensor, in place of one of our own. */
  readonly feed?: FeedOption;
}

/** All that can be looked at here, one after the other. */
export async function examine(options: DoctorOptions): Promise<readonly Check[]> {
  const { store, kafka, security = {}, spool, data = dataDir(), feed } = options;
  return [
    ...(await lookAtMachine(spool, feed)),
    ...(await lookAtFiles(data, spool)),
    ...(store === undefined || store.startsWith('chdb:') ? [] : await lookAtStore(store)),
    ...(kafka === undefined ? [] : await lookAtKafka(kafka, security)),
  ];
}

function lineOf({ name, level, text, next }: Check): string {
  const advice = next === undefined || next === '' ? '' : `\n       next: ${escapeText(next)}`;
  return `${WORDS[level]}  ${name.padEnd(17)} ${escapeText(text)}${advice}\n`;
}

/** `telltale doctor`: exit code 0 when nothing fails; what is only worth a look is a warning. */
export async function doctor(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      kafka: { type: 'string' },
      data: { type: 'string' },
      feed: { type: 'string' },
      json: { type: 'boolean', default: false },
      ...KAFKA_FLAGS,
    },
  });
  const checks = await examine({
    store: values.store ?? storeUrl(),
    kafka: values.kafka ?? brokers(),
    security: kafkaSecurity(values),
    data: values.data ?? dataDir(),
    spool: spoolDir(),
    ...(values.feed === undefined ? {} : { feed: feedOf(values.feed) }),
  });
  process.stdout.write(values.json ? `${JSON.stringify(checks)}\n` : checks.map(lineOf).join(''));
  return checks.every(({ level }) => level !== 'fail') ? 0 : 1;
}
