/**
 * `npm run grafana-plugin`: the real backend of Grafana's ClickHouse data source against
 * `telltale up --grafana`. It needs Go and a checkout of grafana/clickhouse-datasource (4.20.0), named by
 * TELLTALE_GRAFANA_PLUGIN, whose modules can be had; nothing is written into it.
 *
 * Each panel, drop-down, mark and alert rule is asked by the plugin, which expands the macros and speaks
 * Native; the same is asked in JSON, and both must have as many rows, with the columns that are declared.
 */
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { datasourceProvisioning, targetOf } from '../../../deploy/grafana/datasource.ts';
import { SHAPES, type Shape } from '../../../deploy/grafana/endpoint/shapes.ts';
import { percentEncoded } from '../../../deploy/grafana/macros.ts';
import { ALL_VALUE } from '../../../deploy/grafana/scope.ts';
import { ask, DAY, withDay } from '../../report/day.ts';
import { BAD_SESSION } from '../../report/fleet.ts';

const BUILD_MS_MAX = 900_000;
const RUN_MS_MAX = 300_000;

interface Answer {
  readonly name: string;
  readonly error?: string;
  readonly fields: readonly { readonly name: string; readonly type: string }[] | null;
  readonly rows: number;
  readonly ms: number;
}

/** Builds the host as a package of the plugin's module, which only the compiler sees there. */
function build(plugin: string, dir: string): string {
  const overlay = path.join(dir, 'overlay.json');
  const source = path.join(import.meta.dirname, 'host.go');
  const place = path.join(path.resolve(plugin), 'telltale-host', 'main.go');
  fs.writeFileSync(overlay, JSON.stringify({ Replace: { [place]: source } }));
  const out = path.join(dir, 'host');
  const args = ['build', '-mod=mod', '-overlay', overlay, '-o', out, './telltale-host'];
  const built = spawnSync('go', args, { cwd: plugin, encoding: 'utf8', timeout: BUILD_MS_MAX });
  if (built.status !== 0) throw new Error(`the plugin was not built: ${built.stderr}`);
  return out;
}

const frameOf = ({ of, sql }: Shape) =>
  of.startsWith('panel') && /^SELECT \$__timeInterval/.test(sql) ? 'timeseries' : 'table';
/** What the browser does: variables, and no macros. */
const interpolated = ({ sql }: Shape) =>
  sql.replace(/\$\{(\w+):percentencode\}/g, (_, name) =>
    percentEncoded(name === 'session' ? BAD_SESSION : ALL_VALUE),
  );

/** What is wrong with an answer; undefined where nothing is. */
function faultOf(shape: Shape, answer: Answer | undefined, rows: number): string | undefined {
  if (answer === undefined) return 'no answer';
  if (answer.error !== undefined) return answer.error;
  if (rows === 0) return answer.rows === 0 ? undefined : `${answer.rows} rows instead of none`;
  // A time series is made wide by the plugin: a row each time, a field each series.
  if (frameOf(shape) === 'timeseries')
    return answer.rows > 0 && answer.rows <= rows ? undefined : `${answer.rows} rows of ${rows}`;
  const names = answer.fields?.map(({ name }) => name).join(' ');
  const wanted = Object.keys(shape.columns).join(' ');
  if (names !== wanted) return `fields ${names} instead of ${wanted}`;
  return answer.rows === rows ? undefined : `${answer.rows} rows instead of ${rows}`;
}

async function main(): Promise<number> {
  const plugin = process.env.TELLTALE_GRAFANA_PLUGIN;
  if (plugin === undefined || !fs.existsSync(path.join(plugin, 'pkg', 'plugin'))) {
    process.stdout.write(
      'NOT RUN: set TELLTALE_GRAFANA_PLUGIN to a checkout of grafana/clickhouse-datasource\n',
    );
    return 0;
  }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-plugin-'));
  let faults = 0;
  try {
    const host = build(plugin, dir);
    await withDay(async (up) => {
      const { hostname, port } = new URL(up.grafanaUrl);
      const [given] = datasourceProvisioning().datasources;
      const settings = { ...given?.jsonData, host: hostname, port: Number(port), secure: false };
      const queries = SHAPES.map((shape, i) => ({
        name: String(i),
        model: targetOf('A', interpolated(shape), frameOf(shape)),
        from: DAY.fromSeconds * 1000,
        to: DAY.toSeconds * 1000,
        intervalMs: DAY.intervalSeconds * 1000,
      }));
      const input = JSON.stringify({ settings, password: up.token, user: 'lea', queries });
      fs.writeFileSync(path.join(dir, 'input.json'), input);
      const ran = await run(host, path.join(dir, 'input.json'));
      const [health, ...answers] = ran;
      process.stdout.write(`${health?.name}: ${health?.error ?? ''}\n`);
      if (!health?.name.includes('OK')) faults++;
      for (const [i, shape] of SHAPES.entries()) {
        const rows = await ask(up, shape.sql, DAY, { session: BAD_SESSION });
        const fault = faultOf(shape, answers[i], rows.length);
        if (fault !== undefined) faults++;
        const what = `${shape.dashboard ?? 'alerting'} ${shape.of}`;
        const told = fault === undefined ? `ok, ${answers[i]?.rows} rows` : `FAULT ${fault}`;
        process.stdout.write(`${what}: ${told}, ${answers[i]?.ms} ms\n`);
      }
    });
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
  process.stdout.write(`${SHAPES.length} statements, ${faults} faults\n`);
  return faults === 0 ? 0 : 1;
}

/** Not with spawnSync: what it asks is served by this process. */
async function run(host: string, input: string): Promise<Answer[]> {
  const child = spawn(host, [], {
    stdio: [fs.openSync(input, 'r'), 'pipe', 'inherit'],
    timeout: RUN_MS_MAX,
  });
  let text = '';
  for await (const chunk of child.stdout ?? []) text += String(chunk);
  const lines = text.split('\n').filter((line) => line.startsWith('{"name"'));
  return lines.map((line) => JSON.parse(line) as Answer);
}

process.exitCode = await main();
