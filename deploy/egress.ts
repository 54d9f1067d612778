/** What the egress policy needs from this machine: its file, name look-ups and another proxy. */
import { createHash } from 'node:crypto';
import { getServers } from 'node:dns';
import { lookup } from 'node:dns/promises';
import fs from 'node:fs';
import { isIP } from 'node:net';
import { parse } from 'yaml';
import { type Policy, PolicyError, readPolicy } from '../collector/egress/policy.ts';
import type { Upstream } from '../collector/egress/resolver.ts';
import { UsageError } from './process/lifecycle.ts';

const LOOKUP_MS_MAX = 10_000;

/** Reads an `--egress` file (YAML). Throws UsageError that names the file and all faults. */
export function egressPolicy(file: string): Policy {
  let bytes: Buffer;
  let parts: unknown;
  try {
    bytes = fs.readFileSync(file);
    parts = parse(bytes.toString('utf8'));
  } catch (error) {
    throw new UsageError(`--egress ${file}: ${(error as Error).message}`);
  }
  try {
    return readPolicy(parts, createHash('sha256').update(bytes).digest('hex'));
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new UsageError(`--egress ${file}: ${error.faults.join('; ')}`);
  }
}

/** Looks a name up as every program of this machine does (getaddrinfo), for a bounded time. */
export async function resolveName(name: string): Promise<readonly string[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = Object.assign(new Error(`no answer for ${name}`), { code: 'ETIMEOUT' });
    timer = setTimeout(() => reject(error), LOOKUP_MS_MAX).unref();
  });
  const found = await Promise.race([lookup(name, { all: true }), late]).finally(() =>
    clearTimeout(timer),
  );
  return found.map(({ address }) => address);
}

/**
 * The proxy that this machine wants used, out of the command's own environment; everything goes on
 * through it. Undefined where there is none.
 */
export function upstreamOf(env: Readonly<Record<string, string>>): string | undefined {
  const url = env.https_proxy || env.HTTPS_PROXY || env.http_proxy || env.HTTP_PROXY;
  if (url === undefined || url === '') return undefined;
  const whole = url.includes('://') ? url : `http://${url}`;
  if (!URL.canParse(whole) || !/^https?:$/.test(new URL(whole).protocol))
    throw new UsageError('--egress: HTTPS_PROXY of the environment is no http(s):// URL');
  return whole;
}

const DNS_PORT = 53;
const PORT_MAX = 65_535;

/** `IP:PORT`, `[IP6]:PORT` or an address alone. */
function endpointOf(text: string): Upstream | undefined {
  const [, six, four, digits = String(DNS_PORT)] =
    /^(?:\[([^\]]+)\]|([0-9.]+))(?::([0-9]+))?$/.exec(isIP(text) === 6 ? `[${text}]` : text) ?? [];
  const ip = six ?? four ?? '';
  const port = Number(digits);
  return isIP(ip) === 0 || port > PORT_MAX ? undefined : { ip, port };
}

/**
 * The meaning of `--resolver`: where it listens; it asks the servers of this machine's resolv.conf,
 * itself left out.
 */
export function resolverOf(text: string): { listen: Upstream; upstream: readonly Upstream[] } {
  const listen = endpointOf(text);
  if (listen === undefined)
    throw new UsageError(`--resolver ${text}: give an address with a port, as 127.0.0.53:53`);
  const upstream = getServers()
    .flatMap((server) => endpointOf(server) ?? [])
    .filter(({ ip, port }) => ip !== listen.ip || port !== listen.port);
  if (upstream.length === 0)
    throw new UsageError('--resolver: /etc/resolv.conf names no other server that it could ask');
  return { listen, upstream };
}
