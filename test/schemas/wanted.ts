/** Asks an engine what it made of a schema, so that two schemas are compared in its own words. */
import { DATABASE, type Store } from '#schemas';

const LIMITS = { timeMs: 20_000, memoryBytesMax: 1e9, rowsMax: 100_000 };

/** What a database holds: each column, index and table as one line of words, by its name. */
export async function shapeOf(store: Store, database: string): Promise<Map<string, string>> {
  const ask = (text: string) =>
    store.query<Record<string, string>>({ text, params: { d: database } }, LIMITS);
  const shape = new Map<string, string>();
  for (const row of await ask(`SELECT table, name, type, comment, compression_codec AS codec,
      default_kind AS kind, default_expression AS expression
      FROM system.columns WHERE database = {d:String}`))
    shape.set(
      `column ${row.table}.${row.name}`,
      [row.type, row.kind, row.expression, row.codec, `'${row.comment}'`]
        .filter((part) => part !== '')
        .join(' '),
    );
  for (const row of await ask(`SELECT table, name, expr, type_full, granularity
      FROM system.data_skipping_indices WHERE database = {d:String}`))
    shape.set(
      `index ${row.table}.${row.name}`,
      `${row.expr} ${row.type_full} granularity ${row.granularity}`,
    );
  for (const row of await ask(`SELECT name, engine_full, as_select FROM system.tables
      WHERE database = {d:String}`))
    shape.set(`table ${row.name}`, `${row.engine_full} ${row.as_select}`.trim());
  const own = (text: string) => text.replaceAll(`${database}.`, `${DATABASE}.`);
  return new Map([...shape].map(([name, words]) => [name, own(words)]));
}

/** What `have` lacks of `want` or has otherwise, and what it has beyond it; empty when equal. */
export function differences(
  have: ReadonlyMap<string, string>,
  want: ReadonlyMap<string, string>,
): string[] {
  const out: string[] = [];
  for (const [name, words] of want)
    if (!have.has(name)) out.push(`${name}: no migration makes it; wanted: ${words}`);
    else if (have.get(name) !== words)
      out.push(`${name}: migrated to: ${have.get(name)}; wanted: ${words}`);
  for (const name of have.keys())
    if (!want.has(name)) out.push(`${name}: made by a migration, not in the registry`);
  return out;
}
