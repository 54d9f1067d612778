/**
 * ClickHouse's HTTP interface in front of an embedded engine, as far as @clickhouse/client speaks
 * it, for tests only: the statement in the body or in `?query=`, values in `param_*` (URL or
 * multipart) bound by the engine, settings as URL parameters, an INSERT's rows in the body, errors
 * with their number in `X-ClickHouse-Exception-Code`, and in the tail of an answer that had begun.
 * It is no real server: what it proves is what our adapter sends and how it reads answers.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';

const NOT_SETTINGS = new Set(['query', 'query_id', 'database', 'session_id', 'wait_end_of_query']);
const TAG = 'telltalebridgetag';
// NUL too: the binding ends a text there.
const quote = (text: string) => `'${text.replace(/[\\']/g, '\\$&').replaceAll('\0', '\\0')}'`;

interface Call {
  readonly query: string;
  readonly body: Buffer;
  readonly url: URLSearchParams;
  readonly params: readonly (readonly [string, string])[];
}

async function read(request: http.IncomingMessage): Promise<Call> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const url = new URL(request.url ?? '/', 'http://bridge').searchParams;
  const type = request.headers['content-type'] ?? '';
  const fields: [string, string][] = [...url];
  let query = url.get('query') ?? body.toString();
  if (type.startsWith('multipart/')) {
    const form = await new Response(body, { headers: { 'content-type': type } }).formData();
    for (const [name, value] of form) fields.push([name, String(value)]);
    query = String(form.get('query'));
  }
  const params = fields.filter(([name]) => name.startsWith('param_'));
  return { query, body, url, params };
}

/** A session of its own for each call, with the settings and the values as a server has them. */
function sessionOf(dir: string, call: Call): Session {
  const session = new Session(dir);
  const settings = [...call.url].filter(
    ([name]) => !NOT_SETTINGS.has(name) && !name.startsWith('param_'),
  );
  // Last, because a read-only session takes no more settings.
  settings.sort(([a], [b]) => Number(a === 'readonly') - Number(b === 'readonly'));
  try {
    for (const [name, value] of [...call.params, ...settings]) {
      if (!/^\w+$/.test(name)) throw new Error(`bad parameter ${name}`);
      session.query(`SET ${name} = ${quote(value)}`);
    }
    return session;
  } catch (error) {
    session.close();
    throw error;
  }
}

function exception(error: unknown): { code: string; text: string } {
  const text = error instanceof Error ? error.message : String(error);
  return { code: /^Code: (\d+)/.exec(text)?.[1] ?? '1002', text: text.trim() };
}

/** The binding takes no binary body: the engine reads it from a file. */
async function insertFile(session: Session, insert: string, body: Buffer): Promise<void> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-bridge-'));
  const file = path.join(dir, 'body');
  fs.writeFileSync(file, body);
  try {
    await session.queryAsync(`${insert} FROM INFILE ${quote(file)} FORMAT Native`);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

async function answer(session: Session, call: Call, marker: string, out: http.ServerResponse) {
  const insert = /^INSERT INTO (\S+)( \([\w, ]+\))? FORMAT (JSONEachRow|Native)$/.exec(call.query);
  if (insert !== null) {
    const [, table = '', columns = '', format] = insert;
    if (format === 'JSONEachRow') await session.insert({ table, values: call.body, format });
    else await insertFile(session, `INSERT INTO ${table}${columns}`, call.body);
    return void out.end();
  }
  const text = `/* ${marker} */ ${call.query}`;
  const whole = call.url.get('wait_end_of_query') === '1' || !/FORMAT JSONEachRow$/.test(text);
  out.setHeader('X-ClickHouse-Exception-Tag', TAG);
  if (whole) return void out.end((await session.queryAsync(text, { format: 'TSV' })).bytes());
  for await (const chunk of session.queryStream(text, { format: 'JSONEachRow' })) {
    // Who has gone already says neither that there is room nor, once more, that it has gone.
    if (out.destroyed) break;
    if (!out.write(chunk.raw()))
      await new Promise((resolve) => out.once('drain', resolve).once('close', resolve));
  }
  out.end();
}

function refuse(out: http.ServerResponse, error: unknown): void {
  const { code, text } = exception(error);
  const message = `${text}\n`;
  if (out.headersSent) {
    const head = `\r\n__exception__\r\n${TAG}\r\n`;
    out.end(`${head}${message}${Buffer.byteLength(message)} ${TAG}\r\n__exception__\r\n`);
  } else {
    out.writeHead(500, { 'X-ClickHouse-Exception-Code': code });
    out.end(message);
  }
}

export interface Bridge {
  readonly url: string;
  close(): Promise<void>;
}

export interface BridgeOptions {
  /** 0 takes any free one. */
  readonly port?: number;
  /** With it, it speaks TLS and nothing else; PEM texts. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** The one password that it takes, of whatever user. */
  readonly password?: string;
}

/** As a server says it (AUTHENTICATION_FAILED). */
const REFUSED =
  'Code: 516. DB::Exception: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)';

/** The client sends an account in either form: the second where it is told of an authority. */
function isAllowed(headers: http.IncomingHttpHeaders, password?: string): boolean {
  const basic = headers.authorization?.replace(/^Basic /, '') ?? '';
  const [, ofBasic] = /:(.*)$/s.exec(Buffer.from(basic, 'base64').toString()) ?? [];
  return password === undefined || (ofBasic ?? headers['x-clickhouse-key']) === password;
}

/** A server over `dir`, which no other process has open. */
export async function startBridge(dir: string, options: BridgeOptions = {}): Promise<Bridge> {
  const { port = 0, tls, password } = options;
  const control = new Session(dir);
  const serve = async (request: http.IncomingMessage, out: http.ServerResponse) => {
    const marker = `bridge:${randomUUID()}`;
    const kill = () => {
      const text = `KILL QUERY WHERE position(query, '${marker}') > 0 AND query NOT LIKE 'KILL%' ASYNC`;
      if (!out.writableFinished) control.query(text);
    };
    out.on('close', kill);
    let session: Session | undefined;
    try {
      const call = await read(request);
      if (!isAllowed(request.headers, password)) throw new Error(REFUSED);
      session = sessionOf(dir, call);
      await answer(session, call, marker, out);
    } catch (error) {
      refuse(out, error);
    } finally {
      session?.close();
    }
  };
  /** Calls that are served: an engine is let go of when the last session is closed. */
  const calls = new Set<Promise<void>>();
  const listener: http.RequestListener = (request, out) => {
    if (request.url === '/ping') return void out.end('Ok.\n');
    const call = serve(request, out).finally(() => calls.delete(call));
    calls.add(call);
  };
  const server =
    tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await Promise.all(calls);
      control.close();
    },
  };
}
