/**
 * Names and addresses in one form each, and the addresses that are not of the public internet.
 * Pure: nothing is looked up.
 */
import { BlockList, isIP } from 'node:net';
import { domainToASCII } from 'node:url';

/** A whole domain name (RFC 1035, 2.3.4), in text. */
const NAME_CHARS_MAX = 253;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** What ends a host in a URL, so that a reader of URLs would take a part for the whole. */
const NOT_IN_NAMES = /[\s/?#\\@:%]/;
const NUMERIC = /^(?:0x[0-9a-f]*|[0-9]+)$/;

/**
 * A host in the one form that is compared: lower case, IDN as punycode (UTS 46), no last dot, an
 * address in its shortest text without brackets. Undefined where it is neither a name nor an
 * address: other spellings of addresses (`0x7f.1`, `2130706433`) are refused, as are zones.
 */
export function hostOf(text: string): string | undefined {
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  if (isIP(bare) !== 0) return bare.includes('%') ? undefined : addressOf(bare);
  if (bare !== text || NOT_IN_NAMES.test(text)) return undefined;
  const ascii = domainToASCII(text);
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  if (name === '' || name.length > NAME_CHARS_MAX) return undefined;
  const labels = name.split('.');
  if (NUMERIC.test(labels.at(-1) ?? '')) return undefined;
  return labels.every((label) => LABEL.test(label)) ? name : undefined;
}

/** An address in its shortest text; an IPv4 address in IPv6 form is given as IPv4. */
export function addressOf(ip: string): string {
  if (isIP(ip) !== 6) return ip;
  const short = new URL(`http://[${ip}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  return mapped === null ? short : dotted(mapped[1] as string, mapped[2] as string);
}

function dotted(high: string, low: string): string {
  const bits = Number.parseInt(high, 16) * 0x10000 + Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
}

export interface Cidr {
  readonly text: string;
  readonly contains: (ip: string) => boolean;
}

const familyOf = (ip: string) => (isIP(ip) === 6 ? 'ipv6' : 'ipv4');

/** `10.0.0.0/8`, `fd00::/8` or one address; undefined where it is neither. */
export function readCidr(text: string): Cidr | undefined {
  const [ip = '', bits, ...rest] = text.split('/');
  const family = isIP(ip);
  if (family === 0 || ip.includes('%') || rest.length > 0) return undefined;
  const width = family === 6 ? 128 : 32;
  if (bits !== undefined && !/^[0-9]{1,3}$/.test(bits)) return undefined;
  const prefix = bits === undefined ? width : Number(bits);
  if (prefix > width) return undefined;
  const list = new BlockList();
  list.addSubnet(ip, prefix, familyOf(ip));
  const contains = (other: string) => list.check(other, familyOf(other));
  return { text: bits === undefined ? addressOf(ip) : text, contains };
}

/**
 * What a name of the public internet has no reason to lead to: loopback, private networks, link
 * local with the clouds' metadata services, and whatever else is not global unicast (the
 * registries of IANA after RFC 6890). The last four carry an IPv4 address within.
 */
const SPECIAL: readonly (readonly [cidr: string, what: string])[] = [
  ['0.0.0.0/8', 'this network'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'shared, carrier-grade NAT'],
  ['127.0.0.0/8', 'loopback'],
  ['168.63.129.16/32', 'metadata of a cloud'],
  ['169.254.0.0/16', 'link-local, metadata of clouds'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'protocol assignments'],
  ['192.0.2.0/24', 'documentation'],
  ['192.168.0.0/16', 'private'],
  ['198.18.0.0/15', 'benchmarking'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['100::/64', 'discard'],
  ['2001:db8::/32', 'documentation'],
  ['fc00::/7', 'unique local, private'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'site-local'],
  ['ff00::/8', 'multicast'],
  ['::/96', 'IPv4 within'],
  ['64:ff9b::/96', 'IPv4 within, NAT64'],
  ['64:ff9b:1::/48', 'IPv4 within, NAT64'],
  ['2002::/16', 'IPv4 within, 6to4'],
];
const SPECIAL_CIDRS = SPECIAL.map(([text, what]) => ({ ...(readCidr(text) as Cidr), what }));

/** Which special-purpose block an address lies in, in words; undefined for a public one. */
export function specialPurpose(ip: string): string | undefined {
  const block = SPECIAL_CIDRS.find((cidr) => cidr.contains(ip));
  return block && `${block.text} (${block.what})`;
}

/** Whether an address is this machine's loopback. */
export const isLoopbackAddress = (ip: string): boolean => ip === '::1' || ip.startsWith('127.');
