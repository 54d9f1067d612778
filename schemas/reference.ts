/** Registry -> EVENTS.md, the reference for people. */
import { EVENT_BYTES_MAX } from './codec.ts';
import { ENTRIES_MAX, type Field } from './define.ts';
import { ENVELOPE, ENVELOPE_REQUIRED } from './fields.ts';
import { jsonSchemaPath } from './json-schema.ts';
import { DEAD_REASONS, GAP_REASONS } from './reasons.ts';
import { type KindSpec, REGISTRY, SCHEMA_VERSION } from './registry.ts';

const SHAPES: Readonly<Record<string, string>> = {
  text: 'free text',
  keyword: 'a word out of a small set that is not known beforehand',
  uuid: 'UUID, lower case, with dashes',
  hex: 'lower-case hexadecimal of a fixed length',
  time: 'nanoseconds since 1970 in UTC as a string of 19 digits',
  uint: 'whole number from 0 to 2^53 - 1',
  int: 'whole number from -(2^53 - 1) to 2^53 - 1',
  flag: 'true or false',
  list: `strings in order, at most ${ENTRIES_MAX}`,
  map: 'named strings',
};

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function typeOf(field: Field): string {
  const values = field.values?.map((value) => `\`${value}\``).join(', ');
  const size = field.bytesMax === undefined ? '' : `, ${field.bytesMax} B`;
  return values === undefined ? `${field.shape}${size}` : `one of ${values}`;
}

function table(fields: readonly (readonly [string, Field])[], required: ReadonlySet<string>) {
  const rows = fields.map(([name, field]) => {
    const otel = field.otel === undefined ? '' : `\`${field.otel}\``;
    const content = field.content ? ' *Content.*' : '';
    const cells = [
      `\`${name}\``,
      typeOf(field),
      required.has(name) ? 'yes' : '',
      otel,
      `${field.doc}${content}`,
    ];
    return `| ${cells.map(cell).join(' | ')} |`;
  });
  return [
    '| field | type | required | OpenTelemetry | meaning |',
    '|---|---|---|---|---|',
    ...rows,
  ];
}

function section(spec: KindSpec): string[] {
  const own = spec.own.map((name) => [name, spec.fields[name] as Field] as const);
  const samples = spec.samples.map((sample) => JSON.stringify(sample));
  return [
    `## ${spec.kind}`,
    '',
    `${spec.doc} Role: \`${spec.role}\`. [JSON Schema](${jsonSchemaPath(spec.kind).replace('schemas/', '')})`,
    '',
    ...table(own, spec.required),
    '',
    'Samples, without the envelope:',
    '',
    '```json',
    ...samples,
    '```',
    '',
  ];
}

/** The whole text of EVENTS.md. */
export function eventsReference(): string {
  const index = [...REGISTRY.values()].map(
    (spec) => `- [${spec.kind}](#${spec.kind.replaceAll('.', '')}): ${spec.doc}`,
  );
  const lines = [
    '# Events',
    '',
    'Written by `npm run gen` from `kinds/` and `fields.ts`; edit those.',
    '',
    `Registry version ${SCHEMA_VERSION}. An event is one JSON object in canonical form (RFC 8785): keys sorted`,
    'by UTF-16 code units, no blanks, shortest escapes. A field that is absent is left out; an optional',
    'string, list or map is never empty. Strings are well-formed Unicode; numbers are whole and within',
    `2^53. One event has at most ${EVENT_BYTES_MAX} bytes. Sizes below are UTF-8 bytes of all strings of the field.`,
    '',
    ...index,
    '',
    '## Types',
    '',
    ...Object.entries(SHAPES).map(([shape, meaning]) => `- ${shape}: ${meaning}`),
    '',
    'Fields marked *Content* may hold a person’s words or data: the chain covers a salted commitment to them, so they can be erased (README.md).',
    '',
    '## The envelope',
    '',
    'Every event has these.',
    '',
    ...table(Object.entries(ENVELOPE), new Set<string>(ENVELOPE_REQUIRED)),
    '',
    ...[...REGISTRY.values()].flatMap(section),
    '## Reasons',
    '',
    `Why a stream declares a gap: ${GAP_REASONS.map((reason) => `\`${reason}\``).join(', ')}.`,
    '',
    `Why bytes are parked: ${DEAD_REASONS.map((reason) => `\`${reason}\``).join(', ')}.`,
    '',
  ];
  return lines.join('\n');
}
