/** The network ledger of a session. */
import { PAGE_MAX } from '../plan.ts';
import type { Destination, Verdicts } from '../timeline/network.ts';
import { builder, costs } from './builder.ts';
import { pageBehind } from './listed.ts';
import { SessionRef } from './sessions.ts';
import { ANALYSIS_COST, OF_WHOLE } from './story.ts';

const VerdictsRef = builder.objectRef<Verdicts>('DestinationVerdict').implement({
  description: 'How often rules decided so.',
  fields: (t) => ({
    decision: t.exposeString('decision'),
    count: t.expose('count', { type: 'Long' }),
    rules: t.stringList({ resolve: ({ rules }) => rules }),
    lastAt: t.field({ type: 'Time', resolve: ({ lastNs }) => lastNs }),
    eventIds: t.exposeIDList('eventIds'),
  }),
});

export const DestinationRef = builder.objectRef<Destination>('Destination').implement({
  description: 'A host and port, and all that was done with it. Lists hold the first of each.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'Within its session.' }),
    host: t.exposeString('host', { nullable: true }),
    port: t.expose('port', { type: 'Long', nullable: true }),
    path: t.exposeString('path', { nullable: true, description: 'Of a unix socket.' }),
    ips: t.exposeStringList('ips'),
    transports: t.exposeStringList('transports'),
    firstAt: t.field({ type: 'Time', resolve: ({ firstNs }) => firstNs }),
    lastAt: t.field({ type: 'Time', resolve: ({ lastNs }) => lastNs }),
    connects: t.expose('connects', { type: 'Long' }),
    failed: t.expose('failed', { type: 'Long' }),
    requests: t.expose('requests', { type: 'Long', description: 'Told by the proxy.' }),
    lookups: t.expose('lookups', {
      type: 'Long',
      description: 'Of a resolver: what it was asked. Of a name: that it was, and never reached.',
    }),
    binds: t.expose('binds', { type: 'Long' }),
    bytesIn: t.expose('bytesIn', { type: 'Long' }),
    bytesOut: t.expose('bytesOut', { type: 'Long' }),
    names: t.exposeStringList('names', { description: 'Names that were asked for.' }),
    urls: t.exposeStringList('urls'),
    verdicts: t.field({ type: [VerdictsRef], resolve: ({ verdicts }) => verdicts }),
    denied: t.expose('denied', { type: 'Long', description: 'Attempts that were denied.' }),
    madeThoughDenied: t.exposeBoolean('madeThoughDenied', {
      description:
        'A connection was made after a rule had said no, and no later one yes; or it went round the egress proxy against the policy.',
    }),
    proxied: t.expose('proxied', {
      type: 'Long',
      description:
        'Requests through the egress proxy. The connect to the proxy that the kernel saw, the decision and the proxy’s own word on the end are one.',
    }),
    folded: t.expose('folded', {
      type: 'Long',
      description:
        'Of these, connects to the proxy’s port that were put on this line by process and time; the others stand on a line of the proxy.',
    }),
    bypasses: t.expose('bypasses', {
      type: 'Long',
      description:
        'Connections that went round the egress proxy: the policy speaks of them, and nobody enforced it.',
    }),
    seen: t.exposeBoolean('seen', { description: 'Whether the kernel showed it.' }),
    callIds: t.exposeStringList('callIds'),
    unattributed: t.expose('unattributed', { type: 'Long' }),
    eventCount: t.expose('eventCount', { type: 'Long' }),
    eventIds: t.exposeIDList('eventIds'),
  }),
});

builder.objectFields(SessionRef, (t) => ({
  network: t.field({
    type: [DestinationRef],
    description: `Destinations by first contact; at most \`first\` (${PAGE_MAX}), from the one behind \`after\` on. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST, PAGE_MAX),
    args: {
      first: t.arg.int({ description: `At most ${PAGE_MAX}; as many where nothing is said.` }),
      after: t.arg.id({ description: 'A destination’s id.' }),
    },
    resolve: async ({ id }, { first, after }, { loads }) => {
      const all = (await loads.assessment(id)).network();
      return [...pageBehind(all, (one) => one.id, first, after)];
    },
  }),
}));
