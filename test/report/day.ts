/** `telltale up --grafana` over the made-up day, and its statements asked as Grafana asks them. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Row } from '#schemas';
import { createUp, type Up } from '../../deploy/commands/up.ts';
import { expand, type Picks, type Range } from '../../deploy/grafana/macros.ts';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { DAY_END_MS, DAY_MS, FLEET_TENANT, insertFleet } from './fleet.ts';

/** As many bars as a panel of Grafana's has with `maxDataPoints` 96. */
export const DAY: Range = {
  fromSeconds: (DAY_END_MS - DAY_MS) / 1000,
  toSeconds: DAY_END_MS / 1000,
  intervalSeconds: 900,
};

/** Runs `work` while it is up; all that it stored is gone afterwards. */
export async function withDay(work: (up: Up) => Promise<void>): Promise<void> {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-day-'));
  try {
    const store = await openStore(`chdb:${data}`, { log: fakeLog() });
    await migrate(store, { log: fakeLog() });
    await insertFleet(store);
    await store.close();
    const grafana = { host: '127.0.0.1', port: 0 };
    const up = createUp({ data, port: 0, tenant: FLEET_TENANT, grafana, log: fakeLog() });
    await up.start();
    try {
      await work(up);
    } finally {
      await up.stop();
    }
  } finally {
    fs.rmSync(data, { recursive: true, force: true });
  }
}

/** Rows of one statement, in JSON instead of Native. */
export async function ask(
  up: Up,
  sql: string,
  range: Range,
  picks: Picks,
): Promise<readonly Row[]> {
  const password = Buffer.from(`grafana:${up.token}`).toString('base64');
  const response = await fetch(`${up.grafanaUrl}/?default_format=JSON`, {
    method: 'POST',
    headers: { authorization: `Basic ${password}`, 'x-grafana-user': 'report' },
    body: expand(sql, range, picks),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}\n${sql}`);
  return ((await response.json()) as { readonly data: readonly Row[] }).data;
}
