/**
 * The egress proxy: HTTP/1.1 and CONNECT on loopback (RFC 9110, 9.3.6), by the library proxy-chain.
 * TLS stays whole: of a tunnel only the name and port are known that the client asked for.
 */
import type { lookup } from 'node:dns';
import http from 'node:http';
import type { LookupFunction, Socket } from 'node:net';
import { RequestError, Server } from 'proxy-chain';
import type { Clock, Draft } from '#schemas';
import { decisionDraft, passedDraft } from './events.ts';
import { createPassages } from './passages.ts';
import {
  DEFAULT_RULE,
  type Decided,
  decide,
  decideName,
  type Policy,
  type Resolve,
  type Verdict,
} from './policy.ts';
import { bodyOf, errorName, statusHeaders } from './refusal.ts';
import type { Asker } from './seen.ts';
import { onServerName } from './server-name.ts';
import { type ProxyTarget, targetOf } from './target.ts';

export interface ProxyLimits {
  /** Clients at once; one more is refused and told. */
  readonly connectionsMax: number;
  /** A tunnel that did not come about within this time is given up. */
  readonly connectMsMax: number;
  /** A connection on which nothing moved for so long is closed. */
  readonly idleMsMax: number;
}

export const PROXY_LIMITS: ProxyLimits = {
  connectionsMax: 1024,
  connectMsMax: 30_000,
  idleMsMax: 15 * 60_000,
};

export interface ProxyDeps {
  readonly policy: Policy;
  readonly resolve: Resolve;
  readonly clock: Clock;
  readonly limits: ProxyLimits;
  /** Where everything is handed on to, as a URL; without it the proxy connects itself. */
  readonly upstream?: string;
  /** Who the client is; asked as soon as a connection is accepted. */
  readonly askerOf: (client: Socket) => Promise<Asker>;
  readonly tell: (draft: Draft) => void;
  /** The listener is gone, and nobody asked it to be. */
  readonly down: (reason: string) => void;
}

export interface EgressProxy {
  /** Listens on loopback; port 0 takes any. Resolves with the port. */
  listen(port: number): Promise<number>;
  /** Closes all connections and resolves when all of them were told. Safe twice. */
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const NAME = 'telltale';
const UNKNOWN_ASKER: Asker = { foundBy: 'unknown' };
const NO_VERDICT = { decision: 'deny' } as const;

interface Connection {
  readonly id: string;
  readonly asker: Promise<Asker>;
  /** Junk on it was told. */
  junk: boolean;
}

/** Leads a connection to the addresses that were decided on, whatever the name says by now. */
const pinnedTo =
  (addresses: readonly string[]): LookupFunction =>
  (_name, options, callback) => {
    const all = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    if (options.all) callback(null, all);
    else callback(null, all[0]?.address ?? '', all[0]?.family ?? 4);
  };

/**
 * The target's own name in `Host`, whatever the client wrote there (RFC 9112, 3.2.2), and nothing
 * that was meant for a proxy.
 */
function rewriteHeaders(request: http.IncomingMessage, url: string): void {
  const kept: string[] = ['Host', new URL(url).host];
  const { rawHeaders } = request;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2);
    if (!/^(host$|proxy-)/i.test(name)) kept.push(name, value);
  }
  rawHeaders.splice(0, rawHeaders.length, ...kept);
}

/** Tells of a connection as soon as it is known who its client is, and not before. */
function createTelling({ policy, clock, tell }: Pick<ProxyDeps, 'policy' | 'clock' | 'tell'>) {
  const telling = new Set<Promise<void>>();
  const later = (asker: Promise<Asker>, draft: (asker: Asker) => Draft): void => {
    const work = asker.then((who) => tell(draft(who))).finally(() => telling.delete(work));
    telling.add(work);
  };
  const decided = (
    connection: Pick<Connection, 'id' | 'asker'>,
    verdict: Verdict,
    target?: Partial<ProxyTarget>,
    ip?: string,
    attrs?: Readonly<Record<string, string>>,
  ) => {
    const facts = {
      ...{ ts: clock.wallNs().toString(), verdict, connection: connection.id },
      ...(target === undefined ? {} : { target }),
      ...(ip === undefined ? {} : { ip }),
      ...(attrs === undefined ? {} : { attrs }),
    };
    later(connection.asker, (asker) => decisionDraft(policy, { ...facts, asker }));
  };
  return {
    later,
    decided,
    malformed: (connection: Connection, reason: string) =>
      decided(connection, { ...NO_VERDICT, rule: 'malformed', reason }),
    settled: () => Promise.all(telling),
  };
}

export function createProxy(deps: ProxyDeps): EgressProxy {
  const { policy, clock, limits } = deps;
  const { later, decided, malformed, settled } = createTelling(deps);
  const connections = new WeakMap<Socket, Connection>();
  const targets = new WeakMap<http.IncomingMessage, ProxyTarget | string>();
  const passages = createPassages({
    clock,
    connectMsMax: limits.connectMsMax,
    throughUpstream: deps.upstream !== undefined,
    ended: (passage, facts) =>
      later(passage.asker, (asker) => passedDraft({ ...passage, ...facts, asker })),
  });
  let count = 0;
  let closing = false;

  const connectionOf = (socket: Socket): Connection => {
    let connection = connections.get(socket);
    if (connection === undefined) {
      const asker = deps.askerOf(socket).catch(() => UNKNOWN_ASKER);
      connection = { id: String(++count), asker, junk: false };
      connections.set(socket, connection);
      socket.setTimeout(limits.idleMsMax);
    }
    return connection;
  };
  /** Before the library sees a request: what it asks for, in our one reading of it. */
  const arrived = (request: http.IncomingMessage) => {
    const target = targetOf(request);
    targets.set(request, target);
    // Passwords for a proxy are none of this one's business.
    delete request.headers['proxy-authorization'];
    if (typeof target === 'string') malformed(connectionOf(request.socket), target);
    else if (target.url !== undefined) rewriteHeaders(request, target.url);
  };

  async function verdictOf(connection: Connection, target: ProxyTarget): Promise<Decided> {
    try {
      const verdict = await decide(
        policy,
        target,
        deps.upstream === undefined ? deps.resolve : undefined,
      );
      decided(connection, verdict, target, verdict.addresses[0]);
      return verdict;
    } catch (error) {
      const code = errorName(error);
      decided(connection, decideName(policy, target.host, target.port), target);
      const passage = passages.begin({ ...connection, connection: connection.id, target });
      passage.end({ bytesIn: 0, bytesOut: 0, outcome: 'failure', error: code });
      const text = `${NAME}: ${JSON.stringify(target.host)} could not be looked up: ${code}\n`;
      throw new RequestError(text, 502, statusHeaders('dns_error', code));
    }
  }

  /**
   * The client named its server within the tunnel. Another one than it asked for is told, and where a
   * rule denies it the tunnel is closed: its question has gone by, the answer will not.
   */
  const named = (connection: Connection, target: ProxyTarget, name: string, id: number) => {
    passages.named(id, name);
    if (name === target.host) return;
    const verdict = decideName(policy, name, target.port);
    const ends = verdict.decision === 'deny' && verdict.rule !== DEFAULT_RULE;
    const reason = `${verdict.reason}; TLS names it in a tunnel to ${target.host}`;
    decided(connection, { ...verdict, reason }, { ...target, host: name }, undefined, {
      enforced: ends ? 'yes' : 'no',
      bypass: 'tls_server_name',
      'tunnel.host': target.host,
    });
    if (ends) server.closeConnection(id);
  };

  /** The library asks what to do with a request. */
  const prepare = async ({
    request,
    connectionId,
  }: {
    request: http.IncomingMessage;
    connectionId: unknown;
  }) => {
    const target = targets.get(request) ?? targetOf(request);
    if (typeof target === 'string') throw new RequestError(`${NAME}: ${target}\n`, 400);
    const connection = connectionOf(request.socket);
    const verdict = await verdictOf(connection, target);
    if (verdict.decision === 'deny')
      throw new RequestError(
        bodyOf(policy, target, verdict),
        403,
        statusHeaders('http_request_denied', verdict.rule),
      );
    const [ip] = verdict.addresses;
    const passage = passages.begin({
      ...{ asker: connection.asker, connection: connection.id, target },
      ...(ip === undefined ? {} : { ip }),
    });
    if (request.socket.destroyed) {
      passage.end({ bytesIn: 0, bytesOut: 0, outcome: 'failure', error: 'the client went away' });
      throw new RequestError('', 499);
    }
    if (target.url === undefined) {
      passages.tunnel(Number(connectionId), passage, server);
      onServerName(request.socket, (name) => named(connection, target, name, Number(connectionId)));
    } else passages.request(request, passage);
    // Each request connects anew, to the addresses that were decided on for it.
    const httpAgent = new http.Agent({ keepAlive: false });
    if (deps.upstream !== undefined) return { httpAgent, upstreamProxyUrl: deps.upstream };
    // The library hands it to net.connect(), which wants a LookupFunction.
    const dnsLookup = pinnedTo(verdict.addresses) as unknown as typeof lookup;
    return { httpAgent, dnsLookup };
  };

  const server = new Server({ host: HOST, authRealm: NAME, prepareRequestFunction: prepare });
  const listener = server.server as http.Server;
  listener.maxConnections = limits.connectionsMax;
  listener.timeout = limits.idleMsMax;
  listener.prependListener('connection', (socket: Socket) => void connectionOf(socket));
  listener.prependListener('connect', arrived);
  listener.prependListener('request', (request: http.IncomingMessage, response) => {
    arrived(request);
    passages.watch(request, response, server);
  });
  listener.prependListener('clientError', (error: NodeJS.ErrnoException, socket) => {
    const connection = connectionOf(socket as Socket);
    if (connection.junk || error.code === 'ECONNRESET' || error.code === 'EPIPE') return;
    connection.junk = true;
    malformed(connection, `not HTTP: ${error.code ?? 'unreadable'}`);
  });
  listener.on('drop', () => {
    const reason = `more than ${limits.connectionsMax} connections at once`;
    const none = { id: 'none', asker: Promise.resolve(UNKNOWN_ASKER) };
    decided(none, { ...NO_VERDICT, rule: 'connections-max', reason });
  });
  listener.on('close', () => {
    if (!closing) deps.down('its listener was closed');
  });
  server.on('tunnelConnectResponded', ({ proxyChainId }) => passages.made(Number(proxyChainId)));
  server.on('connectionClosed', ({ connectionId, stats }) =>
    passages.closed(Number(connectionId), stats),
  );

  return {
    async listen(port) {
      server.port = port;
      await server.listen();
      listener.on('error', (error) => {
        if (!closing) deps.down(errorName(error));
      });
      return server.port;
    },
    async close() {
      if (closing) return;
      closing = true;
      await server.close(true).catch(() => {});
      // A closed socket says so a moment after the listener has counted it out.
      await clock.sleep(0);
      passages.endAll();
      await settled();
    },
  };
}
