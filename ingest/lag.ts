/** How far a consumer group is behind its topic. */
import type { Clock, Log, Meter } from '#schemas';

/** Between two looks. */
const LAG_MS = 15_000;

interface Ends {
  readonly partition: number;
  /** The first offset that the log still has, and the one behind its last message. */
  readonly low: string;
  readonly high: string;
}

/** Messages that are not committed, over all partitions; one without a commit is behind from its start. */
export function behind(ends: readonly Ends[], committed: ReadonlyMap<number, string>): number {
  return ends.reduce((sum, { partition, low, high }) => {
    const offset = committed.get(partition) ?? '-1';
    const lag = BigInt(high) - BigInt(offset === '-1' ? low : offset);
    return lag > 0n ? sum + Number(lag) : sum;
  }, 0);
}

/** What is asked of the brokers, as their client has it. */
interface Brokers {
  fetchTopicOffsets(topic: string): Promise<readonly Ends[]>;
  fetchOffsets(of: { groupId: string; topics: string[] }): Promise<
    readonly {
      readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
    }[]
  >;
}

interface Deps {
  readonly admin: Brokers;
  readonly topic: string;
  readonly groupId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
}

/**
 * Measures the lag now, and again and again until the function given back is called. The brokers are asked,
 * because a worker whose store is away fetches nothing and would never see the log grow.
 */
export function watchLag({ admin, topic, groupId, clock, log, meter }: Deps): () => void {
  async function measure(): Promise<void> {
    const [ends, [group]] = await Promise.all([
      admin.fetchTopicOffsets(topic),
      admin.fetchOffsets({ groupId, topics: [topic] }),
    ]);
    const committed = new Map(group?.partitions.map((one) => [one.partition, one.offset]));
    meter.gauge('telltale.ingest.lag', behind(ends, committed));
  }
  const look = () => {
    measure().catch((error) => log.debug('ingest.no_lag', { error: String(error) }));
  };
  look();
  return clock.every(LAG_MS, look);
}
