/** The query service listening on a real port, with a clock whose sleeps are short. */
import { setTimeout as delay } from 'node:timers/promises';
import Fastify from 'fastify';
import type { Clock, Store } from '#schemas';
import { createClock } from '../../deploy/process/clock.ts';
import type { Viewer } from '../../query/access/viewer.ts';
import { registerQuery } from '../../query/server.ts';
import { type FakeLog, type FakeMeter, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { accessOf, viewer } from './access.ts';
import { TENANT } from './seed.ts';
import type { Answer } from './service.ts';

const FASTER = 20;

/** Real time, but for sleeps. */
export function quickClock(): Clock {
  const clock = createClock();
  return {
    ...clock,
    sleep: async (ms, signal) => {
      await delay(ms / FASTER, undefined, signal === undefined ? {} : { signal });
    },
  };
}

export interface Listening {
  readonly url: string;
  readonly log: FakeLog;
  readonly meter: FakeMeter;
  ask(query: string, variables?: object): Promise<Answer>;
  close(): Promise<void>;
}

export async function listen(store: Store, who: Viewer = viewer(TENANT)): Promise<Listening> {
  const app = Fastify({ forceCloseConnections: true });
  const [log, meter] = [fakeLog(), fakeMeter()];
  await registerQuery(app, { store, log, meter, clock: quickClock(), ...accessOf(who) });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const ask = async (query: string, variables: object = {}) => {
    const answer = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    return (await answer.json()) as Answer;
  };
  return { url, log, meter, ask, close: () => app.close() };
}
