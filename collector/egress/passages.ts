/**
 * What goes through the proxy, from the decision to its end: tunnels by connection, plain requests
 * by themselves. Bytes are those that went to and came from the destination.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'proxy-chain';
import type { Clock } from '#schemas';
import type { PassedFacts } from './events.ts';
import type { Asker } from './seen.ts';
import type { ProxyTarget } from './target.ts';

export interface PassageStart {
  readonly connection: string;
  readonly asker: Promise<Asker>;
  readonly target: ProxyTarget;
  readonly ip?: string;
}

type End = Pick<PassedFacts, 'bytesIn' | 'bytesOut' | 'outcome' | 'error' | 'attrs'>;
export type PassageFacts = End & Pick<PassedFacts, 'ts' | 'durationNs'>;

export interface Passage extends PassageStart {
  /** Tells of its end, once. */
  end(facts: End): void;
}

/** How many bytes went both ways, as the library counts them; null before it connected. */
type Stats = ReturnType<Server['getConnectionStats']>;

export interface PassagesDeps {
  readonly clock: Clock;
  readonly connectMsMax: number;
  readonly throughUpstream: boolean;
  readonly ended: (passage: PassageStart, facts: PassageFacts) => void;
}

interface Tunnel {
  readonly passage: Passage;
  readonly timer: NodeJS.Timeout;
  /** Through another proxy it is made when that one says so; its refusals are bytes as well. */
  made: boolean | undefined;
  why?: string;
  /** The server that the client asked for within TLS. */
  serverName?: string;
}

const bytesOf = (stats: Stats) => ({
  bytesOut: stats?.trgTxBytes ?? 0,
  bytesIn: stats?.trgRxBytes ?? 0,
});

export function createPassages(deps: PassagesDeps) {
  const { clock, connectMsMax, throughUpstream, ended } = deps;
  const open = new Set<Passage>();
  const tunnels = new Map<number, Tunnel>();
  const requests = new WeakMap<IncomingMessage, Passage>();

  return {
    begin(start: PassageStart): Passage {
      const beganNs = clock.monotonicNs();
      const passage: Passage = {
        ...start,
        end(facts) {
          if (!open.delete(passage)) return;
          const durationNs = Number(clock.monotonicNs() - beganNs);
          ended(start, { ...facts, ts: clock.wallNs().toString(), durationNs });
        },
      };
      open.add(passage);
      return passage;
    },
    /** A tunnel lasts as long as its connection; it is given up where it does not come about. */
    tunnel(id: number, passage: Passage, server: Server): void {
      const tunnel: Tunnel = {
        passage,
        made: throughUpstream ? false : undefined,
        timer: setTimeout(() => {
          if (tunnel.made ?? (server.getConnectionStats(id)?.srcTxBytes ?? 0) > 0) return;
          tunnel.why = `no connection within ${connectMsMax / 1000} s`;
          server.closeConnection(id);
        }, connectMsMax).unref(),
      };
      tunnels.set(id, tunnel);
    },
    /** Another proxy said that the tunnel is there. */
    made(id: number): void {
      const tunnel = tunnels.get(id);
      if (tunnel !== undefined) tunnel.made = true;
    },
    /** The client said within TLS which server it wants. */
    named(id: number, serverName: string): void {
      const tunnel = tunnels.get(id);
      if (tunnel !== undefined) tunnel.serverName = serverName;
    },
    request(request: IncomingMessage, passage: Passage): void {
      requests.set(request, passage);
    },
    /** A plain request ends with its answer; other requests of its connection have their own. */
    watch(request: IncomingMessage, response: ServerResponse, server: Server): void {
      const { proxyChainId } = request.socket as unknown as { proxyChainId: number };
      const before = bytesOf(server.getConnectionStats(proxyChainId));
      let last = before;
      const look = () => {
        const stats = server.getConnectionStats(proxyChainId);
        if (stats !== undefined) last = bytesOf(stats);
      };
      // The library forgets a connection as it closes, which may be before the answer's end.
      request.socket.prependOnceListener('close', look);
      response.prependOnceListener('close', () => {
        look();
        request.socket.off('close', look);
        const answered = response.headersSent;
        requests.get(request)?.end({
          bytesOut: last.bytesOut - before.bytesOut,
          bytesIn: last.bytesIn - before.bytesIn,
          outcome: answered && response.writableFinished ? 'success' : 'failure',
          ...(answered
            ? { attrs: { 'http.response.status_code': String(response.statusCode) } }
            : { error: 'the connection ended before an answer' }),
        });
      });
    },
    /** A client's connection is closed, and with it its tunnel. */
    closed(id: number, stats: Stats): void {
      const tunnel = tunnels.get(id);
      if (tunnel === undefined) return;
      tunnels.delete(id);
      clearTimeout(tunnel.timer);
      const made = tunnel.made ?? (stats?.srcTxBytes ?? 0) > 0;
      const error = tunnel.why ?? 'the destination could not be connected to';
      tunnel.passage.end({
        ...bytesOf(stats),
        outcome: made ? 'success' : 'failure',
        ...(made ? {} : { error }),
        ...(tunnel.serverName === undefined
          ? {}
          : { attrs: { 'tls.server.name': tunnel.serverName } }),
      });
    },
    /** What is left when the proxy ends. */
    endAll(): void {
      const error = 'the recording ended';
      for (const passage of [...open])
        passage.end({ bytesIn: 0, bytesOut: 0, outcome: 'failure', error });
    },
  };
}
