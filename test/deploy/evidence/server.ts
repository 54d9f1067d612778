/** A server for tests: the query service over an embedded store, and the files of a log. */
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import {
  createTreeEdge,
  encode,
  encodeEntries,
  encodeHashes,
  leafHash,
  type Store,
  type TelltaleEvent,
  tilePath,
} from '#schemas';
import { registerQuery } from '../../../query/server.ts';
import type { LogPart } from '../../../schemas/evidence/write.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { accessOf, viewer } from '../../query/access.ts';
import type { Store as Rows, Wire, World } from '../../verify/world.ts';

let inserts = 0;

async function insert(store: Store, table: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  await store.insert({
    table,
    lines: bytes,
    rows: lines.length,
    dedupToken: `evidence-${inserts++}`,
    timeMs: 30_000,
  });
}

/** Puts rows into the store. A row as an erasure leaves it can't come over the wire: it goes in as columns. */
export async function insertRows(store: Store, rows: readonly Wire[]): Promise<void> {
  const lineOf = (row: Wire) => encode(row as unknown as TelltaleEvent).toString();
  await insert(store, 'telltale.events', rows.map(lineOf));
}

/** Puts all that a store of the world holds into a real one. */
export async function insertStore(
  store: Store,
  { tenant, session, rows, dead, erasures }: Rows,
): Promise<void> {
  await insertRows(store, rows);
  const letter = ({ parked_ms: _ms, ...rest }: Record<string, unknown>) =>
    JSON.stringify({ ...rest, parked_at: '2025-11-24 16:00:05.000' });
  await insert(store, 'telltale.dead_letters', dead.map(letter));
  const erased = erasures.map(({ at_ms: _ms, by: actor, event_id: id, fields, reason }) =>
    JSON.stringify({
      tenant,
      session_id: session,
      stream_id: id.slice(0, 36),
      seq: Number(id.slice(37)),
      fields,
      actor,
      reason,
      erased_at: '2025-11-25 19:46:40.000',
    }),
  );
  await insert(store, 'telltale.erasures', erased);
}

/** The files of the world's log, by path. */
export function logFiles(world: World, log: LogPart): Map<string, Buffer> {
  const files = new Map<string, Buffer>([['checkpoint', Buffer.from(log.note)]]);
  const entries = world.leaves.slice(0, log.size).map(({ text }) => Buffer.from(text));
  const edge = createTreeEdge();
  const keep = ({
    tile,
    hashes,
  }: {
    tile: Parameters<typeof tilePath>[0];
    hashes: readonly Buffer[];
  }) => files.set(tilePath(tile), encodeHashes(hashes));
  for (const entry of entries) for (const full of edge.push(leafHash(entry))) keep(full);
  for (const partial of edge.partial()) keep(partial);
  for (let first = 0; first < entries.length; first += 256) {
    const part = entries.slice(first, first + 256);
    files.set(
      tilePath({ level: 'entries', index: first / 256, width: part.length }),
      encodeEntries(part),
    );
  }
  return files;
}

export interface TestServer {
  readonly base: URL;
  /** The log's files; a test may change them. */
  readonly log: Map<string, Buffer>;
  close(): Promise<void>;
}

/** Serves on a port of its own. */
export async function serveEvidence(store: Store, log: Map<string, Buffer>): Promise<TestServer> {
  const app = Fastify({ forceCloseConnections: true });
  await registerQuery(app, {
    store,
    log: fakeLog(),
    meter: fakeMeter(),
    clock: fakeClock(),
    ...accessOf(viewer('acme')),
  });
  app.get('/tlog/*', async (request, reply) => {
    const bytes = log.get((request.params as { '*': string })['*']);
    return bytes === undefined ? reply.code(404).send('not found') : reply.send(bytes);
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return { base: new URL(`http://127.0.0.1:${port}`), log, close: () => app.close() };
}
