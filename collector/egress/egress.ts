/**
 * The egress policy of one run: the proxy, its word in the command's environment, and what goes
 * round it. A listener that is lost is a `gap`, and opened again on the same port.
 */
import type { Socket } from 'node:net';
import type { Clock, Draft, Log } from '#schemas';
import type { Command, Egress } from '../record.ts';
import { withProxy } from './environment.ts';
import { awayDraft, coverageDraft, decisionDraft, directDraft, questionDraft } from './events.ts';
import { createNames } from './names.ts';
import { peerOf } from './peer.ts';
import { decideAddress, decideName, type Policy, type Resolve } from './policy.ts';
import { createProxy, type EgressProxy, PROXY_LIMITS, type ProxyLimits } from './proxy.ts';
import { createResolver, type ResolverDeps } from './resolver.ts';
import { createSeen, type NetDraft } from './seen.ts';

export interface EgressDeps {
  readonly policy: Policy;
  readonly resolve: Resolve;
  readonly clock: Clock;
  readonly log: Log;
  /** Another proxy that everything goes on through: its names are not looked up here. */
  readonly upstream?: string;
  readonly limits?: ProxyLimits;
  /** Where the stub resolver listens and whom it asks; without it there is none. */
  readonly resolver?: Pick<ResolverDeps, 'listen' | 'upstream'>;
}

const HOST = '127.0.0.1';
/** A lost listener is opened again so often, and after so long each time. */
const REOPEN_MAX = 5;
const REOPEN_MS = 100;

export function createEgress(deps: EgressDeps, sink: (drafts: readonly Draft[]) => void): Egress {
  const { policy, clock, log, limits = PROXY_LIMITS } = deps;
  const names = createNames();
  let port = 0;
  let resolverPort = deps.resolver?.listen.port;
  let proxy: EgressProxy | undefined;
  let reopened = 0;
  let stopping = false;

  const now = () => clock.wallNs().toString();
  const tell = (draft: Draft) => sink([draft]);
  const verdictOfDirect = ({ net_ip: ip = '', net_port, net_host }: NetDraft) =>
    decideAddress(
      policy,
      ip,
      net_port,
      net_host === undefined ? undefined : decideName(policy, net_host, net_port),
    );
  const seen = createSeen({
    clock,
    ours: (ip, at) =>
      at === port && ip === HOST
        ? 'proxy'
        : at === resolverPort && ip === deps.resolver?.listen.ip
          ? 'resolver'
          : undefined,
    direct: (draft) => tell(directDraft(policy, draft, verdictOfDirect(draft))),
  });
  const askerOf = (client: Socket) => {
    const { remoteAddress: ip = HOST, remotePort = 0 } = client;
    const ends = { ip, port: remotePort, own: { ip: HOST, port } };
    return seen.askerOf(peerOf('tcp', ends, seen.likely(), process.pid));
  };
  const resolver =
    deps.resolver &&
    createResolver({
      ...{ policy, clock, ...deps.resolver },
      answered(facts) {
        const { ip, port: clientPort, tcp } = facts.client;
        const own = { ip: deps.resolver?.listen.ip ?? HOST, port: resolverPort ?? 0 };
        const ends = { ip, port: clientPort, own };
        const asker = seen.askerNow(peerOf(tcp ? 'tcp' : 'udp', ends, seen.likely(), process.pid));
        const durationNs = Number(clock.monotonicNs() - facts.beganNs);
        const [ts, { verdict }] = [now(), facts];
        if (verdict.decision === 'allow') names.learn(facts.name, facts.answers);
        else {
          const target = { host: facts.name };
          tell(decisionDraft(policy, { ts, verdict, asker, target, connection: 'dns' }));
        }
        tell(questionDraft(facts, { ts, durationNs, asker }));
      },
      down: (reason) => {
        log.error('egress.resolver_lost', { reason });
        tell(awayDraft(now(), `the egress resolver was lost: ${reason}`));
      },
    });
  const coverage = (reason: string) =>
    tell(
      coverageDraft(now(), 'complete', reason, {
        policy: policy.name,
        policy_version: policy.version,
        proxy: `${HOST}:${port}`,
        ...(resolver === undefined
          ? {}
          : { resolver: `${deps.resolver?.listen.ip} port ${resolverPort}` }),
        ...(deps.upstream === undefined ? {} : { addresses: 'looked up by another proxy' }),
      }),
    );
  const open = async () => {
    proxy = createProxy({
      ...{ policy, clock, limits, askerOf, tell, resolve: deps.resolve },
      ...(deps.upstream === undefined ? {} : { upstream: deps.upstream }),
      down: (reason) => void reopen(reason),
    });
    port = await proxy.listen(port);
  };
  async function reopen(reason: string): Promise<void> {
    if (stopping) return;
    log.error('egress.proxy_lost', { reason });
    tell(awayDraft(now(), `the egress proxy was lost: ${reason}`));
    await proxy?.close();
    while (!stopping && reopened++ < REOPEN_MAX) {
      await clock.sleep(REOPEN_MS);
      try {
        await open();
        return coverage('the egress proxy listens again');
      } catch (error) {
        log.error('egress.proxy_not_opened', { reason: String(error) });
      }
    }
    tell(coverageDraft(now(), 'none', 'the egress proxy is lost: connections through it fail', {}));
  }

  return {
    async start() {
      resolverPort = await resolver?.start();
      await open();
      coverage('the egress proxy listens; what does not use it is told by the kernel sensor only');
    },
    async prepare(command: Command) {
      return { ...command, env: withProxy(command.env, `http://${HOST}:${port}`) };
    },
    observe(drafts) {
      const named = names.named(drafts);
      seen.observe(named);
      return named;
    },
    async settle() {},
    async stop() {
      stopping = true;
      seen.over();
      await resolver?.stop();
      await proxy?.close();
    },
  };
}
