/** Flags of the services that answer questions: who may ask, and what they may ask for. */
import { ARGUMENT_POLICIES, type ArgumentPolicy } from '../../query/access/operation.ts';
import { ROLES, type Role } from '../../query/access/viewer.ts';
import { UsageError } from '../process/lifecycle.ts';
import { integerOf } from '../settings.ts';
import type { OidcSettings } from './oidc.ts';
import { TENANT } from './token-file.ts';

/** For `parseArgs`. */
export const ACCESS_FLAGS = {
  tokens: { type: 'string' },
  'oidc-issuer': { type: 'string' },
  'oidc-audience': { type: 'string' },
  'oidc-jwks': { type: 'string' },
  'oidc-name-claim': { type: 'string', default: 'sub' },
  'oidc-tenant': { type: 'string' },
  'oidc-tenant-claim': { type: 'string' },
  'oidc-roles-claim': { type: 'string', default: 'roles' },
  'oidc-role': { type: 'string', multiple: true, default: [] as string[] },
  'oidc-content': { type: 'string', multiple: true, default: [] as string[] },
  'no-introspection': { type: 'boolean', default: false },
  explorer: { type: 'boolean', default: false },
  'journal-arguments': { type: 'string', default: 'plain' },
  'requests-per-minute': { type: 'string' },
} as const;

interface AccessFlags {
  readonly tokens?: string | undefined;
  readonly 'oidc-issuer'?: string | undefined;
  readonly 'oidc-audience'?: string | undefined;
  readonly 'oidc-jwks'?: string | undefined;
  readonly 'oidc-name-claim': string;
  readonly 'oidc-tenant'?: string | undefined;
  readonly 'oidc-tenant-claim'?: string | undefined;
  readonly 'oidc-roles-claim': string;
  readonly 'oidc-role': readonly string[];
  readonly 'oidc-content': readonly string[];
  readonly 'no-introspection': boolean;
  readonly explorer: boolean;
  readonly 'journal-arguments': string;
  readonly 'requests-per-minute'?: string | undefined;
}

export interface AccessSettings {
  /** The file of API tokens; absent: that of the data directory. */
  readonly tokens?: string;
  readonly oidc?: OidcSettings;
  readonly introspection: boolean;
  readonly explorer: boolean;
  readonly arguments: ArgumentPolicy;
  readonly requestsPerMinute?: number;
}

const PER_MINUTE_MAX = 1_000_000;
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);

/** A URL whose answers decide who is who: over TLS, or on this machine. */
function trustedUrl(flag: string, text: string, faults: string[]): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const good =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && LOOPBACK.has(url.hostname));
  if (!good) faults.push(`--${flag} ${text}: give an https:// URL`);
  return text;
}

function roleMap(entries: readonly string[], faults: string[]): Map<string, Role> {
  const map = new Map<string, Role>();
  for (const entry of entries) {
    const at = entry.indexOf('=');
    const role = ROLES.find((one) => one === entry.slice(0, at));
    if (role === undefined || at === entry.length - 1)
      faults.push(`--oidc-role ${entry}: write ROLE=GROUP, the role one of ${ROLES.join(', ')}`);
    else map.set(entry.slice(at + 1), role);
  }
  return map;
}

function oidcOf(flags: AccessFlags, faults: string[]): OidcSettings | undefined {
  const issuer = flags['oidc-issuer'];
  const audience = flags['oidc-audience'];
  const fixed = flags['oidc-tenant'];
  if (issuer === undefined) {
    if (audience !== undefined || flags['oidc-jwks'] !== undefined || fixed !== undefined)
      faults.push('--oidc-issuer URL is missing');
    return undefined;
  }
  if (audience === undefined)
    faults.push('--oidc-audience NAME is missing: a token for another service must not open this');
  if (fixed !== undefined && !TENANT.test(fixed)) faults.push(`--oidc-tenant ${fixed}: no tenant`);
  const claim = flags['oidc-tenant-claim'];
  if ((fixed === undefined) === (claim === undefined))
    faults.push('give --oidc-tenant NAME or --oidc-tenant-claim CLAIM, one of them');
  const jwks = flags['oidc-jwks'];
  return {
    issuer: trustedUrl('oidc-issuer', issuer, faults),
    audience: audience ?? '',
    ...(jwks === undefined ? {} : { jwksUrl: trustedUrl('oidc-jwks', jwks, faults) }),
    claims: {
      nameClaim: flags['oidc-name-claim'],
      tenant: fixed === undefined ? { claim: claim ?? '' } : { fixed },
      rolesClaim: flags['oidc-roles-claim'],
      roles: roleMap(flags['oidc-role'], faults),
      content: new Set(flags['oidc-content']),
    },
  };
}

/** The settings of these flags. Throws `UsageError` that tells all faults together. */
export function accessSettings(flags: AccessFlags): AccessSettings {
  const faults: string[] = [];
  const oidc = oidcOf(flags, faults);
  const policy = ARGUMENT_POLICIES.find((one) => one === flags['journal-arguments']);
  if (policy === undefined)
    faults.push(`--journal-arguments: one of ${ARGUMENT_POLICIES.join(', ')}`);
  if (faults.length > 0) throw new UsageError(faults.join('\n'));
  const often = flags['requests-per-minute'];
  return {
    ...(flags.tokens === undefined ? {} : { tokens: flags.tokens }),
    ...(oidc === undefined ? {} : { oidc }),
    introspection: !flags['no-introspection'],
    explorer: flags.explorer,
    arguments: policy ?? 'plain',
    ...(often === undefined
      ? {}
      : { requestsPerMinute: integerOf('requests-per-minute', often, 1, PER_MINUTE_MAX) }),
  };
}
