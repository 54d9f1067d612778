/** What a client is told whose request was refused: which policy, which rule, and what to do. */
import type { Policy, Target, Verdict } from './policy.ts';

const VERSION_CHARS = 12;
const DETAILS_CHARS_MAX = 200;

/** The text of a 403; names stand quoted, since whoever asked chose them. */
export function bodyOf(policy: Policy, { host, port }: Target, verdict: Verdict): string {
  const version = policy.version.slice(0, VERSION_CHARS);
  return (
    `telltale: the egress policy ${JSON.stringify(policy.name)} (version ${version}) denies ` +
    `${JSON.stringify(host)} port ${port} by rule ${JSON.stringify(verdict.rule)}: ` +
    `${verdict.reason}.\n` +
    'Trying again changes nothing; whoever owns the policy can allow it.\n'
  );
}

/** Why, for programs: the header Proxy-Status (RFC 9209); `details` is a string of RFC 8941. */
export function statusHeaders(error: string, details: string): Record<string, string> {
  const text = details.replace(/[^\x20-\x7e]|["\\]/g, '?').slice(0, DETAILS_CHARS_MAX);
  return { 'Proxy-Status': `telltale; error=${error}; details="${text}"` };
}

/** An error by its code, where it has one. */
export function errorName(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message ?? String(error);
}
