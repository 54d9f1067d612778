/**
 * Statements of ours: one statement a call, placeholders `{name:Type}` outside strings and
 * comments. The embedded engine would run everything behind a semicolon, so that is refused here.
 */
import type { Sql } from '#schemas';
import { LiteralError, literal } from './literal.ts';

/** A statement that may not be run. */
export class StatementError extends Error {
  override readonly name = 'StatementError';
}

/**
 * Tokens that matter, in this order: a string, a quoted name, a comment, a placeholder, a
 * semicolon. What is between them is passed on as it is.
 */
const TOKEN =
  /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S])*"|`(?:[^`\\]|\\[\s\S])*`|--[^\n]*|\/\*[\s\S]*?\*\/|\{(\w+):([^{}]+)\}|;/g;

type Replace = (name: string, type: string) => string;

function walk(text: string, replace: Replace): string {
  let end = text.length;
  const out = text.replace(TOKEN, (token: string, name?: string, type?: string, at?: number) => {
    if (name !== undefined && type !== undefined) return replace(name, type.trim());
    if (token === ';') end = Math.min(end, at ?? end);
    return token;
  });
  if (text.slice(end + 1).trim() !== '')
    throw new StatementError('one statement at a time: there is text behind the semicolon');
  return end < text.length ? out.slice(0, out.lastIndexOf(';')) : out;
}

/** The statement with its values written in as literals. */
export function bindLiterals(sql: Sql): string {
  return walk(sql.text, (name, type) => {
    const value = sql.params[name];
    if (value === undefined) throw new StatementError(`no value for {${name}:${type}}`);
    try {
      return literal(type, value);
    } catch (error) {
      if (!(error instanceof LiteralError)) throw error;
      throw new StatementError(`{${name}:${type}}: ${error.message}`, { cause: error });
    }
  });
}

/** The placeholders of a statement and their types. */
export function placeholders(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  walk(text, (name, type) => {
    found.set(name, type);
    return '';
  });
  return found;
}

/** Checks that a text is one statement, and gives it without a last semicolon. */
export function oneStatement(text: string): string {
  return walk(text, (name, type) => `{${name}:${type}}`);
}
