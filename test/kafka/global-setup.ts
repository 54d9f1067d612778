/**
 * One Kafka for a whole test run, started when the first test file asks for it and never before.
 *
 * Vitest runs each test file in a process of its own, so none of them can own what all share. The
 * main process owns it: it listens on a socket, whose path the test files are given; who connects
 * gets one line of JSON when the broker serves (`Answer` in broker.ts).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { KafkaFault } from '../../deploy/kafka/fault.ts';
import type { Answer } from './broker.ts';
import { openTemporaryCluster, type TemporaryCluster } from './temporary.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Path of the socket that hands out the shared broker's address. */
    kafkaSocket: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(path.join(tmpdir(), 'telltale-kafka-'));
  const socketPath = path.join(dir, 's');
  let opened: Promise<TemporaryCluster> | undefined;

  async function answer(): Promise<Answer> {
    try {
      opened ??= openTemporaryCluster(1);
      return { brokers: (await opened).brokers };
    } catch (error) {
      return {
        fault: error instanceof Error ? error.message : String(error),
        machineLacks: error instanceof KafkaFault && error.machineLacks,
      };
    }
  }

  const server = createServer((socket: Socket) => {
    // A test process that went away does not wait for its answer.
    socket.on('error', () => {});
    answer().then((line) => socket.end(`${JSON.stringify(line)}\n`));
  });
  await listen(server, socketPath);
  project.provide('kafkaSocket', socketPath);

  return async () => {
    server.close();
    const cluster = await opened?.catch(() => undefined);
    await cluster?.close();
    await rm(dir, { recursive: true, force: true });
  };
}

function listen(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Unreferenced: vitest must be able to end even when its teardown was skipped.
    server.listen(socketPath, resolve).unref();
  });
}
