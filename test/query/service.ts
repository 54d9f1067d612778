/** A store with the product's tables and the query service over it, for tests. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Fastify, { type FastifyInstance } from 'fastify';
import type { Store, TileFetch } from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import type { Viewer } from '../../query/access/viewer.ts';
import { registerQuery } from '../../query/server.ts';
import { type FakeLog, type FakeMeter, fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { accessOf, type MemoryJournal, memoryJournal, viewer } from './access.ts';
import { TENANT } from './seed.ts';

export interface TestStore {
  readonly store: Store;
  /** Where it lies: a session of the engine may be opened there beside it. */
  readonly dir: string;
  close(): Promise<void>;
}

/** An embedded store of its own with the tables in it. */
export async function openTestStore(): Promise<TestStore> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-query-'));
  const store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  const close = async () => {
    await store.close();
    fs.rmSync(dir, { recursive: true, force: true });
  };
  return { store, dir, close };
}

export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, read by tests
  readonly data?: Record<string, any> | null;
  readonly errors?: readonly {
    readonly message: string;
    readonly extensions?: { readonly code?: string };
  }[];
}

export interface Service {
  readonly app: FastifyInstance;
  readonly log: FakeLog;
  readonly meter: FakeMeter;
  /** What was journaled. */
  readonly journal: MemoryJournal;
  ask(query: string, variables?: object): Promise<Answer>;
}

/** The service over `store` for one viewer; a name is an admin of that tenant who may see content. */
export async function serve(
  store: Store,
  who: Viewer | string = TENANT,
  more: { readonly tlog?: TileFetch } = {},
): Promise<Service> {
  const app = Fastify();
  const log = fakeLog();
  const meter = fakeMeter();
  const journal = memoryJournal();
  const access = accessOf(typeof who === 'string' ? viewer(who) : who, journal);
  await registerQuery(app, { store, log, meter, clock: fakeClock(), ...access, ...more });
  const ask = async (query: string, variables: object = {}) => {
    const answer = await app.inject({
      method: 'POST',
      url: '/graphql',
      headers: { host: 'localhost', 'content-type': 'application/json' },
      payload: { query, variables },
    });
    return answer.json() as Answer;
  };
  return { app, log, meter, journal, ask };
}
