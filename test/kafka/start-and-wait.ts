/**
 * A program for cluster.test.ts: starts a broker in the folder given, says so, and then does
 * nothing, until somebody ends it without asking.
 */
import { createKafkaCluster } from '../../deploy/kafka/cluster.ts';
import { testJarsDir } from './temporary.ts';

const nothing = () => {};
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const [, , dir] = process.argv;
if (dir === undefined) throw new Error('Give a folder.');

const cluster = createKafkaCluster({ dir, brokers: 1, jarsDir: await testJarsDir(), log });
await cluster.start();
process.stdout.write('started\n');
setInterval(nothing, 1 << 30);
