/** What a look at something shows: fine, worth a look, or broken, and what to do next. */
import type { Log } from '#schemas';

export const LEVELS = ['ok', 'warn', 'fail'] as const;
export type Level = (typeof LEVELS)[number];

/** What one look showed. Never a secret: addresses are told without user and password. */
export interface Check {
  readonly name: string;
  readonly level: Level;
  readonly text: string;
  /** What to do next, where it is not `ok`. */
  readonly next?: string;
}

/** What a look gives: words where all is well, or the words, how bad it is, and what to do. */
export type Look = string | Omit<Check, 'name'>;

export const warn = (text: string, next: string): Look => ({ level: 'warn', text, next });
export const fail = (text: string, next: string): Look => ({ level: 'fail', text, next });

/** Nothing of the parts' own logs belongs into the doctor's answer. */
export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** An address without what may be a secret in it. */
export function withoutSecrets(text: string): string {
  if (!URL.canParse(text)) return text;
  const url = new URL(text);
  const secret = url.username !== '' || url.password !== '' || url.search !== '';
  url.username = '';
  url.password = '';
  url.search = '';
  return secret ? `${url.href} (with credentials)` : url.href;
}

/** Takes the secrets of `address` out of what an engine or driver says of it. */
export function redacted(text: string, address: string): string {
  let out = text.replaceAll(address, withoutSecrets(address));
  if (!URL.canParse(address)) return out;
  const { username, password } = new URL(address);
  for (const secret of [password, decodeURIComponent(password), username])
    if (secret !== '') out = out.replaceAll(secret, '***');
  return out;
}

/** Looks; what it throws is a failure, and `next` says what to do then. */
export async function check(
  name: string,
  look: () => Promise<Look> | Look,
  next: string,
): Promise<Check> {
  try {
    const seen = await look();
    return typeof seen === 'string' ? { name, level: 'ok', text: seen } : { name, ...seen };
  } catch (error) {
    return { name, level: 'fail', text: messageOf(error), next };
  }
}

export async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1000} s`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
