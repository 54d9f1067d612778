/**
 * Registry -> JSON Schema files, for readers and for senders in other languages. They say what the
 * validator says, and beyond it that an optional value is not empty. What JSON Schema can't say
 * (bytes of UTF-8, well-formed Unicode, canonical form) stands under `x-telltale` or in EVENTS.md.
 */
import type { Field } from './define.ts';
import { type KindSpec, REGISTRY } from './registry.ts';

type Json = Readonly<Record<string, unknown>>;

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** The file of a kind's schema, relative to the root of the project. */
export const jsonSchemaPath = (kind: string): string => `schemas/json/${kind}.schema.json`;

const NOT_EMPTY: Readonly<Record<string, Json>> = {
  list: { minItems: 1 },
  map: { minProperties: 1 },
  text: { minLength: 1 },
  keyword: { minLength: 1 },
};

function property(field: Field, required: boolean): Json {
  const shape: Json =
    field.values === undefined
      ? (field.schema as unknown as Json)
      : { type: 'string', enum: field.values };
  const notEmpty = required || field.values !== undefined ? {} : NOT_EMPTY[field.shape];
  const facts = {
    shape: field.shape,
    ...(field.bytesMax === undefined ? {} : { bytesMax: field.bytesMax }),
    ...(field.otel === undefined ? {} : { otel: field.otel }),
    ...(field.content === undefined ? {} : { content: field.content }),
  };
  return { description: field.doc, ...shape, ...notEmpty, 'x-telltale': facts };
}

/** The JSON Schema of one kind as a plain object. */
export function jsonSchemaOf(spec: KindSpec): Json {
  const properties = Object.entries(spec.fields).map(([name, field]) => [
    name,
    name === 'kind'
      ? { description: field.doc, const: spec.kind }
      : property(field, spec.required.has(name)),
  ]);
  return {
    $schema: DIALECT,
    $id: `urn:telltale:event:${spec.kind}`,
    title: spec.kind,
    description: spec.doc,
    type: 'object',
    properties: Object.fromEntries(properties),
    required: [...spec.required],
    additionalProperties: false,
    'x-telltale': { role: spec.role },
  };
}

/** All schema files: path and text. */
export function jsonSchemaFiles(): { path: string; text: string }[] {
  return [...REGISTRY.values()].map((spec) => ({
    path: jsonSchemaPath(spec.kind),
    text: `${JSON.stringify(jsonSchemaOf(spec), null, 2)}\n`,
  }));
}
