/**
 * Where a request to the proxy wants to go (RFC 9112, 3.2): `CONNECT host:port`, or an absolute URL
 * of plain HTTP. Only one reading is possible of what is let through; everything else is refused.
 */
import type { IncomingMessage } from 'node:http';
import { hostOf } from './addresses.ts';
import type { Target } from './policy.ts';

export interface ProxyTarget extends Target {
  readonly method: string;
  /** Of a plain request. */
  readonly url?: string;
}

const AUTHORITY = /^(\[[0-9A-Fa-f:.]{2,45}\]|[^\s[\]/?#@\\:%]{1,253}):([0-9]{1,5})$/;
const HTTP_PORT = 80;
const PORT_MAX = 65_535;

/** The target of a request; in words what is wrong with one that has none. */
export function targetOf(request: Pick<IncomingMessage, 'method' | 'url'>): ProxyTarget | string {
  const { method = '', url = '' } = request;
  if (method === 'CONNECT') {
    const [, name, digits] = AUTHORITY.exec(url) ?? [];
    const host = name === undefined ? undefined : hostOf(name);
    if (host === undefined || !isPort(Number(digits))) return 'CONNECT wants host:port';
    return { method, host, port: Number(digits) };
  }
  if (!/^http:\/\//i.test(url) || !URL.canParse(url))
    return 'give an absolute http:// URL, or CONNECT host:port';
  const parsed = new URL(url);
  const host = hostOf(parsed.hostname);
  const port = parsed.port === '' ? HTTP_PORT : Number(parsed.port);
  if (host === undefined || !isPort(port)) return 'the URL has no host that can be looked up';
  // A backslash or an "@" is read differently by others on the way.
  const authority = /^http:\/\/([^/?#]*)/i.exec(url)?.[1] ?? '';
  if (/[\\\s]/.test(authority) || authority.includes('@'))
    return 'the URL may have no user, password or backslash before its path';
  return { method, host, port, url };
}

const isPort = (port: number) => Number.isInteger(port) && port >= 1 && port <= PORT_MAX;
