/** Where the endpoint listens: on this machine alone, since there is no TLS. */
import { UsageError } from '../../process/lifecycle.ts';
import { portOf } from '../../settings.ts';

export interface EndpointAddress {
  readonly host: string;
  readonly port: number;
}

/** Addresses that only this machine can connect to. */
const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1']);
const ADDRESS = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/;

/** `HOST:PORT`; port 0 takes any free one. Throws `UsageError`. */
export function endpointAddress(text: string): EndpointAddress {
  const [, ipv6, name, port] = ADDRESS.exec(text) ?? [];
  const host = ipv6 ?? name;
  if (host === undefined)
    throw new UsageError(`--grafana ${text}: write HOST:PORT, such as 127.0.0.1:8123`);
  if (!LOOPBACK.has(host))
    throw new UsageError(
      `--grafana ${text}: it listens on 127.0.0.1, [::1] or localhost only; from another machine, go through a tunnel or a proxy with TLS`,
    );
  return { host, port: portOf(port, 0) };
}
