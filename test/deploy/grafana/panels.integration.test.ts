/** Each panel, drop-down, mark and alert rule against the engine, as the plugin would ask. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DASHBOARDS } from '../../../deploy/grafana/dashboards.ts';
import type { Dashboard, Panel } from '../../../deploy/grafana/panel.ts';
import { ALERT_RULES } from '../../../deploy/grafana/rules.ts';
import { SESSION } from '../../query/seed.ts';
import { openTestStore, type TestStore } from '../../query/service.ts';
import { ask, fill, SEEDED, typesOf, WRITTEN } from './store.ts';

let test: TestStore;

beforeAll(async () => {
  test = await openTestStore();
  await fill(test.store);
});
afterAll(() => test.close());

/** What is asked by when it was written, and what by when it happened. */
const rangeOf = (sql: string) =>
  /\$__time\w+\((ingested_at|raised_at|parked_at)\)/.test(sql) ? WRITTEN() : SEEDED;
const PICKS = { session: SESSION };

const panels: [string, Panel][] = DASHBOARDS.flatMap(({ title, panels: all }: Dashboard) =>
  all.map((panel): [string, Panel] => [`${title}: ${panel.title}`, panel]),
);

describe.each(panels)('panel %s', (name, panel) => {
  it('answers its columns, typed as said, and something', async () => {
    // The dead letter of the seed was parked long ago, and by that it is asked for.
    const range = name.includes('Dead letters') ? SEEDED : rangeOf(panel.sql);
    const rows = await ask(test.store, panel.sql, range, PICKS);
    expect(rows.length).toBeGreaterThan(0);
    const names = Object.keys(panel.columns);
    expect(Object.keys(rows[0] as object)).toEqual(names);
    expect(await typesOf(test.store, panel.sql, range, names)).toEqual(panel.columns);
    if (panel.kind === 'timeseries') {
      const times = rows.map((row) => String(row.time));
      expect(times).toEqual(times.toSorted());
    }
    if (panel.kind === 'logs') expect(names).toEqual(['timestamp', 'body', 'level', 'labels']);
  });

  it('reads nothing of other days', async () => {
    const day = 24 * 3600;
    const early = {
      fromSeconds: SEEDED.fromSeconds - 30 * day,
      toSeconds: SEEDED.fromSeconds - 29 * day,
      intervalSeconds: 60,
    };
    // What the engine would read, not only what it would answer.
    const reads = await ask(test.store, `EXPLAIN ESTIMATE ${panel.sql}`, early, PICKS);
    // Whether a session is complete is asked of all of that one session, whenever it was.
    const ofSession = panel.title.startsWith('Streams: is that all');
    if (!ofSession) expect(reads.filter(({ rows }) => Number(rows) > 0)).toEqual([]);
    const rows = await ask(test.store, panel.sql, early, PICKS);
    const numbers = rows.flatMap((row) => Object.values(row)).filter((v) => typeof v === 'number');
    if (panel.kind === 'stat') for (const value of numbers) expect(value).toBe(0);
    else if (!ofSession) expect(rows).toEqual([]);
  });
});

describe.each(DASHBOARDS.map((dashboard): [string, Dashboard] => [dashboard.title, dashboard]))(
  'dashboard %s',
  (_, dashboard) => {
    it('has drop-downs whose values stand first, and are ids or hexadecimal', async () => {
      for (const variable of dashboard.variables) {
        const rows = await ask(test.store, variable.sql, SEEDED);
        expect(rows.length).toBeGreaterThan(0);
        for (const row of rows) {
          expect(Object.keys(row)).toEqual(['value', 'text']);
          expect(String(row.value)).toMatch(/^[0-9A-Fa-f-]+$/);
        }
      }
    });

    it('has marks with a time, a text and tags', async () => {
      for (const marks of dashboard.marks) {
        const rows = await ask(test.store, marks.sql, SEEDED, PICKS);
        expect(rows.map((row) => row.text)).toEqual(['A made-up rule']);
        expect(Object.keys(rows[0] as object)).toEqual(['time', 'timeEnd', 'text', 'tags']);
      }
    });
  },
);

describe.each(ALERT_RULES.map((rule): [string, (typeof ALERT_RULES)[number]] => [rule.uid, rule]))(
  'alert rule %s',
  (_, rule) => {
    it('answers labels and one number, and fires on what it is for', async () => {
      const names = Object.keys(rule.columns);
      expect(names.at(-1)).toBe('value');
      const range = rangeOf(rule.sql);
      // Rows of this test are as new as its store: looked at after they have settled.
      const sql = rule.sql.replace('now() - INTERVAL 5 MINUTE', 'now() + INTERVAL 5 MINUTE');
      expect(await typesOf(test.store, sql, range, names)).toEqual(rule.columns);
      const rows = await ask(test.store, sql, range);
      expect(rows.length).toBeGreaterThan(0);
      const most = Math.max(...rows.map((row) => Number(row.value)));
      if (rule.uid === 'telltale-loss') expect(most).toBe(2);
      if (rule.uid === 'telltale-denied') expect(most).toBe(2);
      if (rule.uid === 'telltale-coverage') expect(most).toBe(100);
    });
  },
);
