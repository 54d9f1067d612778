/** The generated files: ids, places, links, formats; and what hostile values make of a statement. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DASHBOARDS } from '../../../deploy/grafana/dashboards.ts';
import { grafanaFiles } from '../../../deploy/grafana/files.ts';
import { expand, type Picks } from '../../../deploy/grafana/macros.ts';
import { ALERT_RULES } from '../../../deploy/grafana/rules.ts';
import { SESSION } from '../../query/seed.ts';
import { openTestStore, type TestStore } from '../../query/service.ts';
import { ask, fill, SEEDED } from './store.ts';

interface Grid {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

interface Written {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly description: string;
    readonly gridPos: Grid;
    readonly targets: readonly { readonly format: number; readonly rawSql: string }[];
    readonly fieldConfig: unknown;
  }[];
}

const written: readonly Written[] = grafanaFiles()
  .filter(({ path }) => path.endsWith('.json'))
  .map(({ text }) => JSON.parse(text));

const overlap = (a: Grid, b: Grid): boolean =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

describe('dashboards', () => {
  it('have uids and titles of their own', () => {
    expect(new Set(written.map(({ uid }) => uid)).size).toBe(DASHBOARDS.length);
    expect(new Set(written.map(({ title }) => title)).size).toBe(DASHBOARDS.length);
  });

  it.each(written.map((w): [string, Written] => [w.title, w]))('%s: is laid out', (_, board) => {
    const { panels } = board;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [index, panel] of panels.entries()) {
      const { x, y, w, h } = panel.gridPos;
      expect(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24).toBe(true);
      for (const other of panels.slice(index + 1))
        expect([panel.title, other.title, overlap(panel.gridPos, other.gridPos)]).toEqual([
          panel.title,
          other.title,
          false,
        ]);
      expect(panel.description.length).toBeGreaterThan(10);
      // Numbers, since the plugin refuses `time_series`; one statement each.
      expect(panel.targets.map(({ format }) => [0, 1, 2].includes(format))).toEqual([true]);
    }
  });

  it('lead only to dashboards and variables that exist, with ids alone', () => {
    const links = [...JSON.stringify(written).matchAll(/\/d\/([\w-]+)\?var-(\w+)=([^&"]+)/g)];
    expect(links.length).toBeGreaterThan(3);
    for (const [, uid, variable, value] of links) {
      const board = DASHBOARDS.find((one) => one.uid === uid);
      expect(board?.variables.map(({ name }) => name)).toContain(variable);
      expect(value).toBe(`\${__value.raw:percentencode}`);
    }
  });

  it('hold each variable that a statement names', () => {
    for (const { variables, panels, marks } of DASHBOARDS) {
      const known = new Set(variables.map(({ name }) => name));
      for (const { sql } of [...panels, ...marks])
        for (const [, name] of sql.matchAll(/\$\{(\w+):/g)) expect([...known]).toContain(name);
    }
  });
});

describe('alert rules as provisioned', () => {
  const path = 'deploy/grafana/provisioning/alerting/telltale.yaml';
  const text = grafanaFiles().find((file) => file.path === path)?.text as string;
  const { groups } = parse(text);
  const [{ rules }] = groups;

  it('have every dollar doubled, so that none is taken for a variable of the environment', () => {
    for (const [index, rule] of rules.entries()) {
      const { rawSql } = rule.data[0].model;
      expect(rawSql.replaceAll('$$', '')).not.toContain('$');
      expect(rawSql.replaceAll('$$', '$')).toBe(ALERT_RULES[index]?.sql);
      expect(rule.condition).toBe(rule.data[1].refId);
      expect(rule.data[1].model.expression).toBe(rule.data[0].refId);
    }
  });
});

describe('hostile values', () => {
  let test: TestStore;
  beforeAll(async () => {
    test = await openTestStore();
    await fill(test.store);
  });
  afterAll(() => test.close());

  const HOSTILE = [
    "x') OR 1=1 -- ",
    "x\\') OR 1=1 -- ",
    'x\\',
    "'",
    '"',
    '`',
    '$__timeFilter(ts)',
    `\${host:raw}`,
    "'; DROP TABLE telltale.events; --",
    '/* ',
    '\0',
    '%27) OR 1=1 --',
    'ÿ😀',
  ];
  const boards = DASHBOARDS.flatMap(({ variables, panels, marks }) =>
    [...panels, ...marks].flatMap(({ sql }) =>
      variables
        .filter(({ name }) => sql.includes(`\${${name}:`))
        .map(({ name }) => ({ sql, name })),
    ),
  );

  it('reach no statement as text, neither from a drop-down nor from a link', () => {
    expect(boards.length).toBeGreaterThan(50);
    for (const { sql, name } of boards)
      for (const value of HOSTILE) {
        const hex = Buffer.from(value).toString('hex').toUpperCase();
        for (const pick of [value, [value, value], hex, [hex, hex]]) {
          const text = expand(sql, SEEDED, { [name]: pick } satisfies Picks);
          const literals = text.match(/decodeURLComponent\('[^']*'\)/g) ?? [];
          expect(literals.length).toBeGreaterThan(0);
          for (const literal of literals)
            expect(literal).toMatch(/^decodeURLComponent\('[A-Za-z0-9%._~-]*'\)$/);
        }
      }
  });

  it('find the rows that have that very value, and no others', async () => {
    const panel = DASHBOARDS[0]?.panels.find(({ title }) => title === 'Events');
    const sql = panel?.sql ?? '';
    const of = async (host: readonly string[]) => {
      const digits = host.map((name) => Buffer.from(name).toString('hex').toUpperCase());
      const [row] = await ask(test.store, sql, SEEDED, { host: digits });
      return Number(row?.value);
    };
    const all = await of([]);
    expect(all).toBeGreaterThan(0);
    expect(await of(['box-1'])).toBeGreaterThan(0);
    expect((await of(['box-1'])) + (await of(['box-2']))).toBe(all);
    expect(await of(['box-1', 'box-2'])).toBe(all);
    for (const value of HOSTILE) expect(await of([value])).toBe(0);
  });

  it('name no session', async () => {
    const board = DASHBOARDS.find(({ uid }) => uid === 'telltale-session');
    const sql = board?.panels.find(({ title }) => title === 'Events')?.sql ?? '';
    const [seeded] = await ask(test.store, sql, SEEDED, { session: SESSION });
    expect(Number(seeded?.value)).toBeGreaterThan(0);
    for (const session of HOSTILE) {
      const [row] = await ask(test.store, sql, SEEDED, { session });
      expect(Number(row?.value)).toBe(0);
    }
  });
});
