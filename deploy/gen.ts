/**
 * Writes what follows from the registry: `npm run gen`. With `--check` it writes nothing, lists the
 * files that are stale and exits with 1. A generator is a path and its text; to add one, add a
 * line to GENERATORS.
 */
import fs from 'node:fs';
import path from 'node:path';
import { printedSchema } from '../query/graphql/schema.ts';
import { jsonSchemaFiles } from '../schemas/json-schema.ts';
import { type Lock, nextLock } from '../schemas/lock.ts';
import { eventsReference } from '../schemas/reference.ts';
import { grafanaFiles } from './grafana/files.ts';
import { kubernetesFiles } from './kubernetes/files.ts';
import { metricsReference } from './telemetry/reference.ts';
import { prometheusRules } from './telemetry/rules.ts';

export interface Generator {
  /** Relative to the root of the project. */
  readonly path: string;
  readonly text: () => string | Promise<string>;
}

/** The root of the source tree; generating is done from source only. */
export const ROOT = path.resolve(import.meta.dirname, '..');
const LOCK_PATH = 'schemas/lock.json';
const LINE_WIDTH = 100;

/** What is on disk, or undefined. */
function read(name: string, root: string): string | undefined {
  const file = path.join(root, name);
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined;
}

/** JSON as the formatter has it: lists on one line where they fit, objects never. */
export function formatJson(value: unknown, indent = '', lead = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const line = `[${value.map((item) => JSON.stringify(item)).join(', ')}]`;
    if (indent.length + lead + line.length + 1 <= LINE_WIDTH) return line;
    return `[\n${value.map((item) => inner + formatJson(item, inner)).join(',\n')}\n${indent}]`;
  }
  const entries = Object.entries(value).map(([name, item]) => {
    const key = `${JSON.stringify(name)}: `;
    return `${inner}${key}${formatJson(item, inner, key.length)}`;
  });
  return `{\n${entries.join(',\n')}\n${indent}}`;
}

/** lock.json; throws when the registry takes back what the one on disk promises. */
export const lockText = (root: string = ROOT): string =>
  `${formatJson(nextLock(read(LOCK_PATH, root)) satisfies Lock)}\n`;

/** Everything that is generated. The lock is first: nothing is written when it breaks. */
export const GENERATORS: readonly Generator[] = [
  { path: LOCK_PATH, text: () => lockText() },
  { path: 'schemas/EVENTS.md', text: eventsReference },
  ...jsonSchemaFiles().map(({ path, text }) => ({ path, text: () => text })),
  { path: 'query/graphql/schema.graphql', text: printedSchema },
  ...grafanaFiles().map(({ path, text }) => ({ path, text: () => text })),
  ...kubernetesFiles().map(({ path, text }) => ({ path, text: () => text })),
  { path: 'deploy/telemetry/METRICS.md', text: metricsReference },
  { path: 'deploy/telemetry/prometheus-rules.yaml', text: prometheusRules },
];

/** Files whose text is not what the registry gives now, with that text. Rejects on a lock break. */
export async function staleFiles(
  generators: readonly Generator[] = GENERATORS,
  root: string = ROOT,
): Promise<{ path: string; text: string }[]> {
  const stale: { path: string; text: string }[] = [];
  for (const generator of generators) {
    const text = await generator.text();
    if (read(generator.path, root) !== text) stale.push({ path: generator.path, text });
  }
  return stale;
}

/** Writes the stale files and gives their paths. */
export async function writeStale(
  generators: readonly Generator[] = GENERATORS,
  root: string = ROOT,
): Promise<string[]> {
  const stale = await staleFiles(generators, root);
  for (const { path: name, text } of stale) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  }
  return stale.map((file) => file.path);
}

async function main(check: boolean): Promise<number> {
  try {
    if (!check) {
      for (const name of await writeStale()) process.stdout.write(`wrote ${name}\n`);
      return 0;
    }
    const stale = await staleFiles();
    for (const { path: name } of stale) process.stderr.write(`stale: ${name}\n`);
    if (stale.length > 0) process.stderr.write('run: npm run gen\n');
    return stale.length > 0 ? 1 : 0;
  } catch (error) {
    process.stderr.write(`gen: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

if (path.resolve(process.argv[1] ?? '') === import.meta.filename)
  process.exitCode = await main(process.argv.includes('--check'));
