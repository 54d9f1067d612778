/** What the scripted models share: a server on loopback, a script, and where in it a request is. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

/** A part of a scripted answer. */
export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thinking'; readonly text: string }
  | { readonly type: 'call'; readonly id: string; readonly name: string; readonly input: object };

/** One answer of the model: its parts, or a failure by HTTP status. */
export type Answer = readonly Part[] | { readonly status: number };

/** What a request shows of where it is. */
export interface Asked {
  /** Tool results that it carries. */
  readonly results: number;
  /** All that was said in it, as JSON. */
  readonly text: string;
  /** Names of the tools that the agent offers. */
  readonly tools: readonly string[];
}

export type Script = (asked: Asked) => Answer;

export interface Model {
  readonly url: string;
  /** Requests that got an answer of the script. */
  readonly requests: number;
  stop(): Promise<void>;
}

export interface Listening {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts a server on loopback. */
export async function listen(handler: http.RequestListener): Promise<Listening> {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export async function bytesOf(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function sendJson(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

export type Loose = Readonly<Record<string, unknown>>;

/** Starts a model: `answer` writes what the script says in the words of its interface. */
export async function startScripted(
  answer: (
    body: Loose,
    path: string,
    response: http.ServerResponse,
    count: () => number,
  ) => Promise<void> | void,
): Promise<Model> {
  let requests = 0;
  const server = await listen(async (request, response) => {
    const text = (await bytesOf(request)).toString('utf8');
    const body = text === '' ? {} : JSON.parse(text);
    const { pathname } = new URL(request.url ?? '/', 'http://model');
    if (request.method !== 'POST') return sendJson(response, 200, { object: 'list', data: [] });
    await answer(body, pathname, response, () => ++requests);
  });
  return {
    ...server,
    get requests() {
      return requests;
    },
  };
}
