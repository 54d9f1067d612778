import { createServer, type Server } from 'node:net';
import { KafkaFault } from './fault.ts';

/**
 * Ports are taken from below the range that the kernel hands out to outgoing connections (32768
 * and up on Linux, 49152 on macOS). A port from that range can be lost while a broker is down: a
 * client that keeps trying to reconnect gets it as its own, and even connects to itself.
 */
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;
const TRIES = 500;
export const LOOPBACK = '127.0.0.1';

/** True when nothing listens on this port of the loopback address. */
export async function isPortFree(port: number): Promise<boolean> {
  const server = await hold(port);
  if (server) await release(server);
  return server !== undefined;
}

/**
 * Different free ports on the loopback address. From `basePort` they are consecutive; without it
 * they are random. Nothing reserves them afterwards, so the caller must survive losing one.
 * @throws KafkaFault `port_taken`
 */
export async function pickPorts(count: number, basePort?: number): Promise<number[]> {
  const held: Server[] = [];
  const ports: number[] = [];
  try {
    for (let tries = 0; ports.length < count; tries++) {
      const port = basePort === undefined ? randomPort() : basePort + ports.length;
      const server = await hold(port);
      if (server) {
        held.push(server);
        ports.push(port);
      } else if (basePort !== undefined || tries >= TRIES) {
        throw new KafkaFault(
          'port_taken',
          `Port ${port} of ${LOOPBACK} is in use. Give another basePort, or none.`,
        );
      }
    }
    return ports;
  } finally {
    await Promise.all(held.map(release));
  }
}

function randomPort(): number {
  return PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
}

function hold(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => resolve(server));
  });
}

function release(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
