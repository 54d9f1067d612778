/** Names of the registry as GraphQL has them. */
import { ALL_FIELDS } from '#schemas';

export const camelCase = (name: string): string =>
  name.replace(/[._]([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());

/** The GraphQL type of a kind: `session.open` is `SessionOpenEvent`. */
export const typeNameOf = (kind: string): string => {
  const camel = camelCase(kind);
  return `${camel.charAt(0).toUpperCase()}${camel.slice(1)}Event`;
};

/** The column of each field of events. */
export const COLUMN_OF: ReadonlyMap<string, string> = new Map(
  Object.keys(ALL_FIELDS).map((name) => [camelCase(name), name]),
);
