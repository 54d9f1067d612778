/** Which name an address was looked up under, by the answers that the resolver gave. */
import type { Draft } from '#schemas';
import { isLoopbackAddress } from './addresses.ts';

const ADDRESSES_MAX = 10_000;

export interface Names {
  learn(name: string, addresses: readonly string[]): void;
  /** Drafts of the sensor, each connect with its name where just one led to its address. */
  named(drafts: readonly Draft[]): readonly Draft[];
}

export function createNames(): Names {
  /** Empty where several names led to an address: then nobody can say which was meant. */
  const names = new Map<string, string>();

  const withName = (draft: Draft): Draft => {
    if (draft.kind !== 'net' || draft.net_op !== 'connect' || draft.net_host !== undefined)
      return draft;
    const { net_ip: ip } = draft;
    const name = ip === undefined || isLoopbackAddress(ip) ? undefined : names.get(ip);
    if (name === undefined || name === '') return draft;
    return {
      ...draft,
      net_host: name,
      attrs: { ...draft.attrs, net_host_from: 'egress_resolver' },
    };
  };
  return {
    learn(name, addresses) {
      for (const ip of addresses) {
        const before = names.get(ip);
        names.delete(ip);
        names.set(ip, before === undefined || before === name ? name : '');
      }
      for (const ip of names.keys()) {
        if (names.size <= ADDRESSES_MAX) break;
        names.delete(ip);
      }
    },
    named: (drafts) => (names.size === 0 ? drafts : drafts.map(withName)),
  };
}
