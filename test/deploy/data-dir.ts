/** A data directory for tests: `telltale up` on it for a while, sessions recorded into it, words caught. */
import { vi } from 'vitest';
import { frameLines, type Row } from '#schemas';
import { createUp, type Up } from '../../deploy/commands/up.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { SESSION, STREAM, stampStream } from '../query/seed.ts';

export const TENANT = 'default';
const LIMITS = { timeMs: 30_000, memoryBytesMax: 1e9, rowsMax: 10_000 };

/** Serves the directory while `use` runs; commands find its token. */
export async function withUp<T>(data: string, use: (up: Up) => Promise<T>): Promise<T> {
  const up = createUp({ data, port: 0, tenant: TENANT, log: fakeLog() });
  await up.start();
  process.env.TELLTALE_TOKEN = up.token;
  try {
    return await use(up);
  } finally {
    delete process.env.TELLTALE_TOKEN;
    await up.stop();
  }
}

/** Sends a whole session; resolves to the HTTP status. */
export async function record(up: Up, session = SESSION, stream = STREAM): Promise<number> {
  const events = stampStream({ tenant: TENANT, session, stream });
  const { status } = await fetch(`${up.url}/v1/frames`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-telltale-frame' },
    body: new Uint8Array(
      frameLines(
        { tenant: TENANT, session_id: session, stream_id: stream, first_seq: 0 },
        events.map(({ bytes }) => bytes),
      ),
    ),
  });
  return status;
}

/** Statements on the store of a directory that nobody has open; rows where it is a SELECT. */
export async function onStore(data: string, ...statements: string[]): Promise<readonly Row[]> {
  const store = await openStore(`chdb:${data}`, { log: fakeLog() });
  try {
    let rows: readonly Row[] = [];
    for (const text of statements)
      if (text.startsWith('SELECT')) rows = await store.query({ text, params: {} }, LIMITS);
      else await store.command(text);
    return rows;
  } finally {
    await store.close();
  }
}

/** Catches what commands print, until `vi.restoreAllMocks()`. */
export function caught(): { words(): string } {
  const said: string[] = [];
  const take = (text: unknown, then?: unknown) => {
    said.push(String(text));
    if (typeof then === 'function') then();
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(take as never);
  vi.spyOn(process.stderr, 'write').mockImplementation(take as never);
  return { words: () => said.splice(0).join('') };
}
