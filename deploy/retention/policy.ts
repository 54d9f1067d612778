/**
 * The file that says how long sessions are kept (YAML):
 *
 *     name: standard-2026
 *     default: {sessionDays: 730}
 *     tenants:
 *       acme: {sessionDays: 365, contentDays: 90}
 *
 * A tenant without an entry has the default; without a default it keeps all. Age counts from when a
 * session's last event was written to the store: the clocks of collectors are not believed.
 */

import fs from 'node:fs';
import { parse } from 'yaml';
import { UsageError } from '../process/lifecycle.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const DAYS_MAX = 36_500;

/** How long one tenant's sessions are kept, in days. */
export interface Terms {
  readonly sessionDays: number;
  /** Prompts, outputs and other content go earlier; the facts stay. */
  readonly contentDays?: number;
}

export interface Policy {
  readonly name: string;
  /** Undefined: what is kept for ever. */
  readonly termsOf: (tenant: string) => Terms | undefined;
}

/** A policy that can't be meant; says all that is wrong with it. */
export class PolicyError extends UsageError {}

type Loose = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isDays = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= DAYS_MAX;

function termsFaults(where: string, value: unknown): string[] {
  if (!isObject(value)) return [`${where}: give {sessionDays: N}`];
  const { sessionDays, contentDays, ...others } = value;
  const faults = Object.keys(others).map((name) => `${where}.${name}: not known`);
  if (!isDays(sessionDays)) faults.push(`${where}.sessionDays: whole days from 1 to ${DAYS_MAX}`);
  if (contentDays !== undefined && !isDays(contentDays))
    faults.push(`${where}.contentDays: whole days from 1 to ${DAYS_MAX}`);
  else if (contentDays !== undefined && Number(contentDays) >= Number(sessionDays))
    faults.push(`${where}.contentDays: fewer than sessionDays, or nothing`);
  return faults;
}

/** Reads a policy's text. Throws `PolicyError`. */
export function parsePolicy(text: string): Policy {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new PolicyError(`no YAML: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new PolicyError('give name, default and tenants');
  const { name, default: fallback, tenants = {}, ...others } = value;
  const faults = Object.keys(others).map((one) => `${one}: not known`);
  if (typeof name !== 'string' || !NAME.test(name))
    faults.push('name: 1 to 100 letters, digits and ._-; tombstones carry it');
  if (fallback !== undefined) faults.push(...termsFaults('default', fallback));
  if (!isObject(tenants)) faults.push('tenants: give TENANT: {sessionDays: N}');
  const own = new Map(Object.entries(isObject(tenants) ? tenants : {}));
  for (const [tenant, terms] of own) faults.push(...termsFaults(`tenants.${tenant}`, terms));
  if (fallback === undefined && own.size === 0)
    faults.push('it names nobody: give default or tenants');
  if (faults.length > 0) throw new PolicyError(faults.join('; '));
  const termsOf = (tenant: string) => (own.get(tenant) ?? fallback) as Terms | undefined;
  return { name: name as string, termsOf };
}

/** Reads a policy's file. Throws `PolicyError` that names it. */
export function readPolicy(file: string): Policy {
  try {
    return parsePolicy(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (!(error instanceof PolicyError) && (error as NodeJS.ErrnoException).code === undefined)
      throw error;
    throw new PolicyError(`${file}: ${(error as Error).message}`);
  }
}
