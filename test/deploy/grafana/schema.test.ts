/** The dashboards against Grafana's own schemas, in which nothing that is not named may stand. */
import fs from 'node:fs';
import path from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { grafanaFiles } from '../../../deploy/grafana/files.ts';

const FIXTURES = path.resolve(import.meta.dirname, '../../fixtures/grafana');
/** A panel's options and its own settings of a field are of its plugin's schema. */
const PANELS = ['barchart', 'logs', 'stat', 'table', 'timeseries'];

type Json = Readonly<Record<string, unknown>>;

interface Panel {
  readonly type: string;
  readonly title: string;
  readonly options?: unknown;
  readonly fieldConfig?: { readonly defaults?: { readonly custom?: unknown } };
}
interface Board {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null;

/** What Grafana lets be anything, the schemas call an object of anything: here it is anything again. */
function loosened(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(loosened);
  if (!isJson(schema)) return schema;
  const { type, properties, additionalProperties } = schema;
  if (type === 'object' && properties === undefined && isJson(additionalProperties))
    if (Object.keys(additionalProperties).length === 0) return {};
  return Object.fromEntries(Object.entries(schema).map(([name, one]) => [name, loosened(one)]));
}

function definitionsOf(name: string): Json {
  const text = fs.readFileSync(path.join(FIXTURES, `${name}.json`), 'utf8');
  return (loosened(JSON.parse(text)) as { definitions: Json }).definitions;
}

const compiled = new Map<string, (value: unknown) => string[]>();

/** What is wrong with a value by a definition of a schema: a line each. */
function validator(schema: string, definition: string): (value: unknown) => string[] {
  const known = compiled.get(`${schema} ${definition}`) ?? compile(schema, definition);
  compiled.set(`${schema} ${definition}`, known);
  return known;
}

function compile(schema: string, definition: string): (value: unknown) => string[] {
  const definitions = definitionsOf(schema);
  if (definitions[definition] === undefined) throw new Error(`${schema} has no ${definition}`);
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  const validate = ajv.compile({ $ref: `#/definitions/${definition}`, definitions });
  return (value) => {
    validate(value);
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  };
}

const boards: readonly Board[] = grafanaFiles()
  .filter((file) => file.path.endsWith('.json'))
  .map(({ text }) => JSON.parse(text));
const dashboardFaults = validator('dashboard', 'Dashboard');

describe.each(boards.map((board): [string, Board] => [board.title, board]))('%s', (_, board) => {
  it('is a dashboard by the schema of Grafana', () => {
    expect(board.panels.length).toBeGreaterThan(5);
    expect(dashboardFaults(board)).toEqual([]);
  });

  it('has panels by the schemas of their plugins', () => {
    for (const { type, title, options, fieldConfig } of board.panels) {
      expect([title, PANELS.includes(type)]).toEqual([title, true]);
      expect([title, ...validator(type, 'Options')(options ?? {})]).toEqual([title]);
      const custom = fieldConfig?.defaults?.custom;
      if (custom !== undefined)
        expect([title, ...validator(type, 'FieldConfig')(custom)]).toEqual([title]);
    }
  });
});

it('faults are found: a name that is not there, a type, a value', () => {
  const [board] = boards as [Board];
  const [panel] = board.panels as [Panel];
  for (const wrong of [
    { ...board, refreshed: '5s' },
    { ...board, graphTooltip: 'crosshair' },
    { ...board, panels: [{ ...panel, gridPos: { x: 0, y: 0, w: 'wide', h: 4 } }] },
    { ...board, panels: [{ ...panel, legend: {} }] },
  ])
    expect(dashboardFaults(wrong)).not.toEqual([]);
  expect(validator('timeseries', 'Options')({ legend: { displayMode: 'sideways' } })).not.toEqual(
    [],
  );
});
