/** Names of topics and what their settings must be, so that no part can disagree. */
import { FRAME_BYTES_MAX } from './frame.ts';

export const EVENTS_TOPIC = 'telltale.events';
export const ALERTS_TOPIC = 'telltale.alerts';

/** The partition of a session: FNV-1a over its id, so that a session stays in order. */
export function partitionOf(sessionId: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < sessionId.length; i++)
    hash = Math.imul(hash ^ sessionId.charCodeAt(i), 0x01000193) >>> 0;
  return hash % partitions;
}

/** What a broker says of one partition of a send, in kafkajs' words. */
interface SendAnswer {
  readonly partition?: number;
  readonly errorCode?: number;
  readonly baseOffset?: string;
  readonly offset?: string;
}

/**
 * Whether a send to one partition was taken: one entry, that partition, no error, an offset. kafkajs
 * resolves sends that were not (its issue 1303), so each answer is asked.
 */
export function isAcknowledged(answer: readonly SendAnswer[], partition: number): boolean {
  const [entry] = answer;
  const offset = entry?.baseOffset ?? entry?.offset;
  return (
    answer.length === 1 &&
    entry?.partition === partition &&
    entry.errorCode === 0 &&
    offset !== undefined &&
    Number(offset) >= 0
  );
}

/**
 * Topic settings. LogAppendTime matters: batches are cut by the broker's time stamps, which are
 * the same for every worker that reads them, so a batch is the same batch after a rebalance.
 */
export const EVENTS_TOPIC_SETTINGS: Readonly<Record<string, string>> = {
  'message.timestamp.type': 'LogAppendTime',
  'max.message.bytes': String(FRAME_BYTES_MAX + 1024 * 1024),
  'cleanup.policy': 'delete',
};

/** Topic settings of the alerts, which are kept as long as the cluster keeps what it deletes. */
export const ALERTS_TOPIC_SETTINGS: Readonly<Record<string, string>> = {
  'cleanup.policy': 'delete',
};
