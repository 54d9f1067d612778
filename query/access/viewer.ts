/**
 * Who asks, and what they may. A viewer belongs to one tenant; everything is read as that tenant's.
 *
 *     viewer        reads what happened, without content
 *     investigator  also annotates, exports and runs backtests
 *     admin         also reads the journal of accesses
 *
 * Each role has all that stands above it. Content (prompts, commands, outputs, notes: what the
 * registry marks `content`) needs the scope of that name beside the role.
 */
import { QueryError } from '../errors.ts';

export const ROLES = ['viewer', 'investigator', 'admin'] as const;
export type Role = (typeof ROLES)[number];
export const SCOPES = ['content'] as const;
export type Scope = (typeof SCOPES)[number];

export interface Viewer {
  /** Who, for the journal and for the history of notes: a token's name or an account. */
  readonly id: string;
  readonly tenant: string;
  readonly roles: ReadonlySet<Role>;
  readonly scopes: ReadonlySet<Scope>;
  /** How that is known: `local`, `token ID`, or `oidc ISSUER`. */
  readonly by: string;
}

/** Tells who a request is from by its headers. Rejects with `QueryError` UNAUTHENTICATED. */
export type Authenticate = (authorization: string | undefined) => Promise<Viewer>;

/** Whether the viewer has a role, or one that has all of it. */
export const hasRole = ({ roles }: Viewer, role: Role): boolean =>
  ROLES.slice(ROLES.indexOf(role)).some((each) => roles.has(each));

export const hasScope = ({ scopes }: Viewer, scope: Scope): boolean => scopes.has(scope);

/** Throws FORBIDDEN, with words that name `what`, where the viewer lacks the role. */
export function needRole(viewer: Viewer, role: Role, what: string): void {
  if (!hasRole(viewer, role)) throw new QueryError('FORBIDDEN', `${what} needs the role ${role}`);
}

/** The same for content: for what would tell of it without showing it, such as a search in it. */
export function needContent(viewer: Viewer, what: string): void {
  if (!hasScope(viewer, 'content'))
    throw new QueryError('FORBIDDEN', `${what} needs the scope content`);
}
