/** Alert rules against the catalog of metrics, and their runbooks against everything they name. */
import fs from 'node:fs';
import path from 'node:path';
import { parse as parseGraphQL, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { METRICS, type Metric, type MetricName } from '#schemas';
import { ALERT_RULES, alertingProvisioning } from '../../../deploy/grafana/rules.ts';
import { PROMETHEUS_ALERTS, prometheusName, RUNBOOKS } from '../../../deploy/telemetry/rules.ts';
import { schema } from '../../../query/graphql/schema.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (name: string) => fs.readFileSync(path.join(root, name), 'utf8');

/** Every series that `/metrics` can have, with the labels that it can have. */
const SERIES = new Map<string, ReadonlySet<string>>(
  (Object.keys(METRICS) as MetricName[]).flatMap((name) => {
    const { instrument, labels = {} }: Metric = METRICS[name];
    const said = new Set(Object.keys(labels).map((label) => label.replaceAll('.', '_')));
    const base = prometheusName(name);
    const all = instrument === 'histogram' ? [`${base}_bucket`, `${base}_count`] : [base];
    return all.map((one) => [one, said] as const);
  }),
);
/** What a scrape adds. */
const TARGET_LABELS = new Set(['job', 'instance', 'le']);

/** Series of ours that a text names, with the labels of their selectors. */
function seriesIn(text: string): { name: string; labels: string[] }[] {
  const found = text.matchAll(
    /\b((?:telltale|db_client|http_server|messaging)_[a-z0-9_]+)(\{[^}]*\})?/g,
  );
  return [...found].map(([, name = '', selector = '']) => ({
    name,
    labels: [...selector.matchAll(/([a-z_]+)[=!]/g)].map(([, label = '']) => label),
  }));
}

const pages = fs.readdirSync(path.join(root, RUNBOOKS)).sort();
const fences = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    (m) => m[1] ?? '',
  );

describe('alert rules of Prometheus', () => {
  it.each(PROMETHEUS_ALERTS.map((one) => [one.alert, one] as const))(
    '%s asks for series that there are',
    (_name, { expr }) => {
      const asked = seriesIn(expr);
      for (const { name, labels } of asked) {
        const known = SERIES.get(name);
        expect(known, name).toBeDefined();
        for (const label of labels)
          expect(known?.has(label) || TARGET_LABELS.has(label), `${name}{${label}}`).toBe(true);
      }
      for (const [, by = ''] of expr.matchAll(/\bby \(([^)]*)\)/g))
        for (const label of by.split(',').map((one) => one.trim())) {
          const known = asked.some(({ name }) => SERIES.get(name)?.has(label));
          expect(known || TARGET_LABELS.has(label), label).toBe(true);
        }
      expect(expr === 'up{job=~"telltale.*"} == 0' || asked.length > 0).toBe(true);
    },
  );

  it('have names of their own, and a page each', () => {
    const names = PROMETHEUS_ALERTS.map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
  });

  it('are each fired and kept quiet by a case of promtool', () => {
    const cases = parse(read('test/deploy/telemetry/promtool.yaml')) as {
      tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[];
    };
    const tried = cases.tests.flatMap((one) => one.alert_rule_test);
    const of = (fires: boolean) =>
      new Set(
        tried
          .filter(({ exp_alerts: alerts = [] }) => alerts.length > 0 === fires)
          .map(({ alertname }) => alertname),
      );
    const all = PROMETHEUS_ALERTS.map(({ alert }) => alert).sort();
    expect([...of(true)].sort()).toEqual(all);
    expect([...of(false)].sort()).toEqual(all);
  });
});

describe('runbooks', () => {
  it('are one for each alert, of Prometheus and of Grafana, and none for nothing', () => {
    const grafana = alertingProvisioning().groups.flatMap(({ rules }) =>
      rules.map(({ annotations }) => annotations.runbook),
    );
    const prometheus = (
      parse(read('deploy/telemetry/prometheus-rules.yaml')) as {
        groups: { rules: { annotations: { runbook: string } }[] }[];
      }
    ).groups.flatMap(({ rules }) => rules.map(({ annotations }) => annotations.runbook));
    expect(grafana).toHaveLength(ALERT_RULES.length);
    expect(prometheus).toHaveLength(PROMETHEUS_ALERTS.length);
    const pointed = new Set([...grafana, ...prometheus]);
    expect([...pointed].sort()).toEqual(pages.map((page) => `${RUNBOOKS}/${page}`));
  });

  it.each(pages)(
    '%s says what it means, how to confirm it, what to do and when to call',
    (page) => {
      const text = read(`${RUNBOOKS}/${page}`);
      for (const word of ['**Means.**', '**Confirm.**', '**Do.**', '**Escalate**'])
        expect(text).toContain(word);
      expect(text.split('\n').length).toBeLessThan(60);
    },
  );

  it.each(pages)('%s asks what can be asked, and names what there is', (page) => {
    const text = read(`${RUNBOOKS}/${page}`);
    for (const query of fences(text, 'graphql'))
      expect(validate(schema, parseGraphQL(query)).map(String)).toEqual([]);
    for (const { name } of seriesIn(text)) {
      const whole = SERIES.has(name) || SERIES.has(`${name}_bucket`);
      expect(whole, name).toBe(true);
    }
    for (const [, to = ''] of text.matchAll(/\]\(([a-z-]+\.md)\)/g)) expect(pages).toContain(to);
  });

  it('name commands that there are, and events that are logged', () => {
    const commands = new Set(
      [...read('deploy/cli.ts').matchAll(/^ {2}'?([a-z-]+)'?: \{$/gm)].map(([, name]) => name),
    );
    expect(commands).toContain('doctor');
    const source = ['ingest', 'ingest/seal', 'ingest/detect', 'query', 'query/graphql']
      .concat(['collector', 'deploy/access', 'deploy/telemetry'])
      .flatMap((dir) =>
        fs
          .readdirSync(path.join(root, dir))
          .filter((name) => name.endsWith('.ts'))
          .map((name) => read(`${dir}/${name}`)),
      )
      .join('\n');
    for (const page of pages) {
      const text = read(`${RUNBOOKS}/${page}`);
      for (const [, name = ''] of text.matchAll(/(?:^ {4}|`)telltale ([a-z-]+)/gm))
        expect(commands, `${page}: telltale ${name}`).toContain(name);
      for (const [, event = ''] of text.matchAll(
        /`((?:ingest|seal|query|witness|ship|detect|alert|journal)\.[a-z_]+)`/g,
      ))
        expect(source.includes(`'${event}'`), `${page}: ${event}`).toBe(true);
    }
  });
});
