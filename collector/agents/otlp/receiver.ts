/**
 * The OTLP/HTTP receiver of one run: loopback only, a random port, a random path.
 *
 *     POST /TOKEN/v1/{logs,traces,metrics}   application/json or application/x-protobuf, gzip or not
 *     POST /TOKEN/hook/NAME                  application/json: what an agent's hook was given
 *
 * The token keeps other local users from writing into the record; a path without it does not exist.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzip } from 'node:zlib';
import type { Log } from '#schemas';
import { readJson } from '../../json.ts';
import { decodeProtobuf } from './protobuf.ts';
import { type Parsed, parseRequest, type Signal } from './shape.ts';

export interface ReceiverLimits {
  /** Largest body, also after it was unpacked. Codex posts up to 1.4 MB of spans. */
  readonly bodyBytesMax: number;
  /** Longest wait for one whole request. */
  readonly requestMsMax: number;
}

export const RECEIVER_DEFAULTS: ReceiverLimits = {
  bodyBytesMax: 64 * 1024 * 1024,
  requestMsMax: 30_000,
};

export interface ReceiverSink {
  /** Resolves when the records are taken; only then the sender is answered. */
  otlp(signal: Signal, parsed: Parsed): Promise<void>;
  hook(name: string, payload: unknown): Promise<void>;
  /** A request was refused, and why. */
  refused(status: number): void;
}

export interface Receiver {
  start(): Promise<void>;
  /** `http://127.0.0.1:PORT/TOKEN`; known once started. */
  readonly url: string;
  /** Requests that are being read or answered. */
  readonly active: number;
  stop(): Promise<void>;
}

const TOKEN_BYTES = 24;
const JSON_TYPE = 'application/json';
const PROTOBUF_TYPE = 'application/x-protobuf';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const SIGNALS: ReadonlySet<string> = new Set(['logs', 'traces', 'metrics']);

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function readBody(request: http.IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Refusal(413, `the body is larger than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function unpack(request: http.IncomingMessage, body: Buffer, bytesMax: number): Promise<Buffer> {
  const coding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (coding === 'identity' || coding === '') return Promise.resolve(body);
  if (coding !== 'gzip')
    return Promise.reject(new Refusal(415, 'content-encoding must be gzip or identity'));
  return new Promise((resolve, reject) => {
    gunzip(body, { maxOutputLength: bytesMax }, (error, unpacked) => {
      if (error === null) return resolve(unpacked);
      const large = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
      reject(
        large
          ? new Refusal(413, `the unpacked body is larger than ${bytesMax} bytes`)
          : new Refusal(400, 'the body is not gzip'),
      );
    });
  });
}

const mediaType = (request: http.IncomingMessage): string =>
  (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';

function bodyJson(body: Buffer): unknown {
  try {
    return readJson(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new Refusal(400, 'the body is not JSON in UTF-8');
  }
}

function parseOtlp(signal: Signal, type: string, body: Buffer): Parsed {
  if (type !== JSON_TYPE && type !== PROTOBUF_TYPE)
    throw new Refusal(415, `content-type must be ${JSON_TYPE} or ${PROTOBUF_TYPE}`);
  const request = type === JSON_TYPE ? bodyJson(body) : undefined;
  try {
    return parseRequest(signal, request ?? decodeProtobuf(signal, body));
  } catch {
    throw new Refusal(400, `the body is not an OTLP ${signal} request in ${type}`);
  }
}

/** The path behind the token, as its parts; undefined where the token is not ours. */
function routeOf(url: string, token: string): string[] | undefined {
  const [, given = '', ...rest] = (url.split('?', 1)[0] ?? '').split('/');
  const a = Buffer.from(given);
  const b = Buffer.from(token);
  return a.length === b.length && timingSafeEqual(a, b) ? rest : undefined;
}

async function serve(
  request: http.IncomingMessage,
  token: string,
  limits: ReceiverLimits,
  sink: ReceiverSink,
): Promise<string> {
  const [area = '', name = '', ...more] = routeOf(request.url ?? '', token) ?? [];
  const isOtlp = area === 'v1' && SIGNALS.has(name);
  if ((!isOtlp && area !== 'hook') || name === '' || more.length > 0)
    throw new Refusal(404, 'there is nothing here');
  if (request.method !== 'POST') throw new Refusal(405, 'only POST');
  const type = mediaType(request);
  const packed = await readBody(request, limits.bodyBytesMax);
  const body = await unpack(request, packed, limits.bodyBytesMax);
  if (isOtlp) {
    await sink.otlp(name as Signal, parseOtlp(name as Signal, type, body));
    return type;
  }
  if (type !== JSON_TYPE) throw new Refusal(415, `content-type must be ${JSON_TYPE}`);
  await sink.hook(name, bodyJson(body));
  return type;
}

/** Makes the receiver; nothing listens before `start`. */
export function createReceiver(
  sink: ReceiverSink,
  log: Log,
  limits: ReceiverLimits = RECEIVER_DEFAULTS,
): Receiver {
  const token = randomBytes(TOKEN_BYTES).toString('hex');
  let active = 0;
  let url = '';

  async function answer(request: http.IncomingMessage, response: http.ServerResponse) {
    active++;
    try {
      const type = await serve(request, token, limits, sink);
      // An empty protobuf message is an empty answer: everything was taken.
      response.writeHead(200, { 'content-type': type });
      response.end(type === JSON_TYPE ? '{}' : '');
    } catch (error) {
      const status = error instanceof Refusal ? error.status : 500;
      const text = error instanceof Refusal ? error.message : 'the record could not be taken';
      log.warn('agents.request_refused', { status, reason: text });
      sink.refused(status);
      if (!response.headersSent)
        response.writeHead(status, { 'content-type': TEXT_TYPE, connection: 'close' });
      response.end(`${text}\n`);
      request.resume();
    } finally {
      active--;
    }
  }

  const server = http.createServer(
    { requestTimeout: limits.requestMsMax },
    (request, response) => void answer(request, response),
  );
  return {
    start: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => {
          server.off('error', reject);
          url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/${token}`;
          resolve();
        });
      }),
    get url() {
      return url;
    },
    get active() {
      return active;
    },
    stop: () =>
      new Promise((resolve) => {
        if (!server.listening) return resolve();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
