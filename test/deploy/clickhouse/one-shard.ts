/**
 * A cluster of one shard in one embedded engine: the tables are those of a cluster, Distributed ones before
 * local ones, and the engine answers for the cluster itself. There is no Keeper, so what needs one is left
 * out of each statement: ON CLUSTER, replication, and waiting for replicas. What is left runs.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Session } from 'chdb';
import type { Store } from '#schemas';
import { clusterStatements } from '../../../deploy/clickhouse/cluster.ts';
import { migrate } from '../../../deploy/migrate.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { startBridge } from '../stores/bridge.ts';

export const CLUSTER = 'telltale';
const CONFIG = `<clickhouse><tcp_port>9000</tcp_port><remote_servers><${CLUSTER}><shard><internal_replication>true</internal_replication>
<replica><host>127.0.0.1</host><port>9000</port></replica></shard></${CLUSTER}></remote_servers>DISKS</clickhouse>`;

/** What is left of a statement without Keeper; undefined where that is nothing. */
export function withoutKeeper(text: string): string | undefined {
  if (text.startsWith('SYSTEM SYNC REPLICA')) return undefined;
  return text
    .replaceAll(` ON CLUSTER '${CLUSTER}'`, '')
    .replace(/Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?/, '$1(')
    .replace(/replicated_deduplication_window = \d+, \w+ = \d+/, 'non_$&'.split(',')[0] ?? '')
    .replace(/, (?:max_)?cleanup_delay_period(?: = 1)?/g, '');
}

export interface OneShard {
  readonly store: Store;
  /** Every command, as it was given. */
  readonly said: string[];
  close(): Promise<void>;
}

/** A migrated cluster below `dir`; `disks`: more of the server's configuration. */
export async function openOneShard(dir: string, disks = ''): Promise<OneShard> {
  const config = path.join(dir, 'config.xml');
  fs.writeFileSync(config, CONFIG.replace('DISKS', disks));
  const engine = new Session(path.join(dir, 'db'), {
    connectionArgs: [`--config-file=${config}`],
  });
  const bridge = await startBridge(path.join(dir, 'db'));
  const server = await openStore(bridge.url, { log: fakeLog() });
  const said: string[] = [];
  const command: Store['command'] = async (text) => {
    said.push(text);
    const left = withoutKeeper(text);
    if (left !== undefined) await server.command(left);
  };
  const store: Store = { ...server, command };
  await migrate(store, {
    log: fakeLog(),
    rewrite: (text) => clusterStatements(text, CLUSTER),
  });
  return {
    store,
    said,
    close: async () => {
      await server.close();
      await bridge.close();
      engine.close();
    },
  };
}
