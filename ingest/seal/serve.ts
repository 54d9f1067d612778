/**
 * The two HTTP sides, as fastify plugins: the log's static files (C2SP tlog-tiles) and the
 * witness's one call (C2SP tlog-witness). Neither knows who asks: both listen on loopback.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import {
  CHECKPOINT_PATH,
  hashesAt,
  type Log,
  parseCheckpointText,
  parseNote,
  parseTilePath,
  TILE_WIDTH,
  type Tile,
} from '#schemas';
import { ADD_CHECKPOINT_PATH, REQUEST_BYTES_MAX, SIZE_CONTENT_TYPE } from './add-checkpoint.ts';
import type { LogFiles } from './files.ts';
import type { WitnessService } from './witness.ts';

/** Where a log is served. */
export const LOG_PREFIX = '/tlog';
const TEXT = 'text/plain; charset=utf-8';
/** Tiles never change. */
const FOREVER = 'public, max-age=31536000, immutable';

/** The size of the published tree; 0 where none is published yet. */
async function publishedSize(files: LogFiles): Promise<number> {
  const bytes = await files.read(CHECKPOINT_PATH);
  const note = bytes === undefined ? undefined : parseNote(bytes);
  const checkpoint = note?.ok ? parseCheckpointText(note.value.text) : undefined;
  return checkpoint?.ok ? checkpoint.value.size : 0;
}

/** What lies beyond the published tree may still be written anew, so nobody is shown it. */
function isPublished(tile: Tile, size: number): boolean {
  const level = tile.level === 'entries' ? 0 : tile.level;
  return tile.index * TILE_WIDTH + tile.width <= hashesAt(level, size);
}

const missing = (reply: FastifyReply) => reply.code(404).type(TEXT).send('not found\n');

/**
 * Serves a log's files below `/tlog/`. `isOwnHost` judges the Host header, so that no web page that
 * is open on this machine can read them under another name.
 */
export function registerLog(
  app: FastifyInstance,
  files: LogFiles,
  isOwnHost: (host: string | undefined) => boolean,
): void {
  app.register(async (scope) => {
    scope.addHook('onRequest', async (request, reply) => {
      if (isOwnHost(request.headers.host)) return undefined;
      return reply.code(421).type(TEXT).send('this service answers to its own name only\n');
    });
    scope.get(`${LOG_PREFIX}/${CHECKPOINT_PATH}`, async (_request, reply) => {
      const bytes = await files.read(CHECKPOINT_PATH);
      if (bytes === undefined) return missing(reply);
      return reply.type(TEXT).header('cache-control', 'no-store').send(bytes);
    });
    scope.get(`${LOG_PREFIX}/tile/*`, async (request, reply) => {
      const path = `tile/${(request.params as { '*': string })['*']}`;
      const tile = parseTilePath(path);
      const known = tile !== undefined && isPublished(tile, await publishedSize(files));
      const bytes = known ? await files.read(path) : undefined;
      if (bytes === undefined) return missing(reply);
      return reply.type('application/octet-stream').header('cache-control', FOREVER).send(bytes);
    });
  });
}

/** Serves a witness. */
export function registerWitness(
  app: FastifyInstance,
  deps: { readonly witness: WitnessService; readonly log: Log },
): void {
  const { witness, log } = deps;
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: REQUEST_BYTES_MAX },
      (_request, body, done) => done(null, body),
    );
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
      const code = error.statusCode ?? 500;
      if (code >= 500) log.error('witness.failed', { error: error.message });
      return reply
        .code(code)
        .type(TEXT)
        .send(code >= 500 ? 'failed\n' : `${error.message}\n`);
    });
    scope.post(ADD_CHECKPOINT_PATH, { bodyLimit: REQUEST_BYTES_MAX }, async (request, reply) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const answer = await witness.add(body);
      reply.code(answer.status);
      if (answer.status === 200) return reply.type(TEXT).send(answer.body);
      if (answer.status === 409) return reply.type(SIZE_CONTENT_TYPE).send(`${answer.size}\n`);
      return reply.type(TEXT).send(`${answer.what}\n`);
    });
    scope.get('/:hash/checkpoint', async (request, reply) => {
      const note = witness.latest((request.params as { hash: string }).hash);
      if (note === undefined) return missing(reply);
      return reply.type(TEXT).header('cache-control', 'no-store').send(note);
    });
  });
}
