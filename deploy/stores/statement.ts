/**
 * Statements of ours: one statement a call, placeholders `{name:Type}` outside strings and
 * comments. The embedded engine would run everything behind a semicolon, so that is refused here.
 *
 * The lexer of ClickHouse (`src/Parsers/Lexer.cpp`) knows more ways to quote than we use: here
 * documents `$$…$$` and `$tag$…$tag$`, typographic quotes, `#` comments, `\G` as a delimiter, a
 * NUL as the end. Text with one of those outside of a plain string, name or comment is refused
 * rather than understood, and so is a quote or comment that is never closed.
 */
import type { Sql, SqlValue } from '#schemas';
import { LiteralError, literal } from './literal.ts';

/** A statement that may not be run. */
export class StatementError extends Error {
  override readonly name = 'StatementError';
}

/**
 * Tokens that matter, in this order: a string, a quoted name, a comment, a placeholder, a
 * semicolon, and what is refused. What is between them is passed on as it is.
 */
const TOKEN =
  /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"|`(?:[^`\\]|\\[\s\S])*`|--[^\n]*|\/\*[\s\S]*?\*\/|\{\s*(\w+)\s*:([^{}]+)\}|;|['"`$#\\\0‘’“”]|\/\*/g;

const REFUSED = new Set(["'", '"', '`', '$', '#', '\\', '\0', '‘', '’', '“', '”', '/*']);

type Replace = (name: string, type: string) => string;

function walk(text: string, replace: Replace): string {
  let semicolons = 0;
  let out = '';
  let at = 0;
  const pass = (between: string) => {
    if (semicolons > 0 && between.trim() !== '')
      throw new StatementError('one statement at a time: there is text behind the semicolon');
    out += between;
  };
  for (const match of text.matchAll(TOKEN)) {
    const [token, name, type] = match;
    pass(text.slice(at, match.index));
    at = match.index + token.length;
    if (REFUSED.has(token))
      throw new StatementError(`${JSON.stringify(token)} at ${match.index} is not closed or used`);
    if (token === ';') semicolons++;
    else pass(name !== undefined && type !== undefined ? replace(name, type.trim()) : token);
  }
  pass(text.slice(at));
  if (semicolons > 1) throw new StatementError('one statement at a time: two semicolons');
  return out;
}

function ownValue(sql: Sql, name: string, type: string): SqlValue {
  // An own property only: a placeholder called `constructor` finds nothing.
  const value = Object.hasOwn(sql.params, name) ? sql.params[name] : undefined;
  if (value === undefined) throw new StatementError(`no value for {${name}:${type}}`);
  return value;
}

/** The statement with its values written in as literals. */
export function bindLiterals(sql: Sql): string {
  return walk(sql.text, (name, type) => {
    const value = ownValue(sql, name, type);
    try {
      return literal(type, value);
    } catch (error) {
      if (!(error instanceof LiteralError)) throw error;
      throw new StatementError(`{${name}:${type}}: ${error.message}`, { cause: error });
    }
  });
}

/** The statement for a server that binds, and what it is to bind, by name. */
export interface Bound {
  readonly text: string;
  readonly values: ReadonlyMap<string, { readonly type: string; readonly value: SqlValue }>;
}

/**
 * The statement with its placeholders kept. Every value is checked against its type as the
 * embedded adapter does, so that both refuse the same. Bytes travel as hexadecimal digits.
 */
export function bindByServer(sql: Sql): Bound {
  const values = new Map<string, { type: string; value: SqlValue }>();
  const text = walk(sql.text, (name, type) => {
    const value = ownValue(sql, name, type);
    try {
      literal(type, value);
    } catch (error) {
      if (!(error instanceof LiteralError)) throw error;
      throw new StatementError(`{${name}:${type}}: ${error.message}`, { cause: error });
    }
    if (!(value instanceof Uint8Array)) {
      values.set(name, { type, value });
      return `{${name}:${type}}`;
    }
    values.set(name, { type, value: Buffer.from(value).toString('hex') });
    return `unhex({${name}:String})`;
  });
  return { text, values };
}

/** Checks that a text is one statement, and gives it without a last semicolon. */
export function oneStatement(text: string): string {
  return walk(text, (name, type) => `{${name}:${type}}`);
}

const TABLE = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$/;

/** Checks a table's name, which can't be bound. */
export function tableName(table: string): string {
  if (!TABLE.test(table)) throw new StatementError(`${JSON.stringify(table)} is no table name`);
  return table;
}
