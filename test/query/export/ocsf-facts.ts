/**
 * A checker of OCSF events against the published schema: `test/fixtures/ocsf/1.8.0.json` holds its
 * classes and objects with `extends` and profiles put together. Knows nothing of our mapping.
 */
import fs from 'node:fs';
import path from 'node:path';

interface Attribute {
  readonly type?: string;
  readonly object?: string;
  readonly array?: boolean;
  readonly required?: boolean;
  readonly profile?: string;
  readonly enum?: readonly string[];
}
type Attributes = Readonly<Record<string, Attribute>>;
interface Shape {
  readonly constraints: { readonly at_least_one?: readonly string[] };
  readonly attributes: Attributes;
}
interface Class extends Shape {
  readonly category_uid: number;
  readonly activities: readonly number[];
}

const FILE = path.join(import.meta.dirname, '../../fixtures/ocsf/1.8.0.json');
const FACTS = JSON.parse(fs.readFileSync(FILE, 'utf8')) as {
  readonly classes: Readonly<Record<string, Class>>;
  readonly objects: Readonly<Record<string, Shape>>;
};

type Json = Readonly<Record<string, unknown>>;

function fitsType(type: string, value: unknown): boolean {
  if (type === 'boolean_t') return typeof value === 'boolean';
  if (type === 'integer_t' || type === 'long_t' || type === 'timestamp_t' || type === 'port_t')
    return Number.isSafeInteger(value);
  if (type === 'float_t') return typeof value === 'number';
  if (type === 'json_t') return true;
  return typeof value === 'string';
}

function checkValue(at: string, fact: Attribute, value: unknown, profiles: Set<string>): string[] {
  if (fact.enum !== undefined && !fact.enum.includes(String(value)))
    return [`${at}: ${String(value)} is none of ${fact.enum.join(' ')}`];
  if (fact.object === undefined)
    return fitsType(fact.type ?? '', value) ? [] : [`${at}: no ${fact.type}`];
  if (typeof value !== 'object' || value === null) return [`${at}: no object`];
  if (fact.object === 'object') return [];
  const shape = FACTS.objects[fact.object];
  if (shape === undefined) return [`${at}: no facts of ${fact.object}`];
  return checkShape(at, shape, value as Json, profiles);
}

function checkShape(at: string, shape: Shape, value: Json, profiles: Set<string>): string[] {
  const wrong: string[] = [];
  for (const [name, fact] of Object.entries(shape.attributes)) {
    const concerns = fact.profile === undefined || profiles.has(fact.profile);
    if (fact.required && concerns && value[name] === undefined)
      wrong.push(`${at}.${name}: missing`);
  }
  for (const [name, each] of Object.entries(value)) {
    const fact = shape.attributes[name];
    if (fact === undefined) wrong.push(`${at}.${name}: there is no such attribute`);
    else if (fact.profile !== undefined && !profiles.has(fact.profile))
      wrong.push(`${at}.${name}: needs the profile ${fact.profile}`);
    else if (fact.array) {
      if (!Array.isArray(each)) wrong.push(`${at}.${name}: no list`);
      else
        for (const item of each) wrong.push(...checkValue(`${at}.${name}`, fact, item, profiles));
    } else wrong.push(...checkValue(`${at}.${name}`, fact, each, profiles));
  }
  const one = shape.constraints.at_least_one;
  if (one !== undefined && !one.some((name) => value[name] !== undefined))
    wrong.push(`${at}: has none of ${one.join(' ')}`);
  return wrong;
}

/** What is wrong with an event; nothing where it is as the schema has it. */
export function ocsfFaults(event: Json): string[] {
  const found = FACTS.classes[String(event.class_uid)];
  if (found === undefined) return [`no class ${String(event.class_uid)}`];
  const metadata = (event.metadata ?? {}) as { readonly profiles?: readonly string[] };
  const wrong = checkShape(`${event.class_uid}`, found, event, new Set(metadata.profiles ?? []));
  if (event.category_uid !== found.category_uid) wrong.push('category_uid');
  if (!found.activities.includes(Number(event.activity_id))) wrong.push('activity_id');
  if (event.type_uid !== Number(event.class_uid) * 100 + Number(event.activity_id))
    wrong.push('type_uid');
  return wrong;
}
