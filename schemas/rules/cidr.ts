/**
 * Networks in CIDR notation, IPv4 and IPv6, as Sigma's `cidr` and EQL's `cidrMatch` mean them. An
 * IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`) counts as the IPv4 address.
 */
import { isIP } from 'node:net';

export type Cidr =
  | { readonly ok: true; readonly contains: (address: string) => boolean }
  | { readonly ok: false; readonly reason: string };

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function groupBytes(text: string): readonly number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** The 4 or 16 bytes of an address; undefined for what is none. A zone (`%eth0`) is left out. */
function addressBytes(text: string): readonly number[] | undefined {
  const family = isIP(text);
  if (family === 0) return undefined;
  if (family === 4) return text.split('.').map(Number);
  const [front = '', back] = (text.split('%')[0] as string).split('::');
  const head = groupBytes(front);
  const tail = back === undefined ? [] : groupBytes(back);
  const bytes = [...head, ...Array(16 - head.length - tail.length).fill(0), ...tail];
  return MAPPED.every((byte, index) => bytes[index] === byte) ? bytes.slice(12) : bytes;
}

/** The bits of byte `index` that a prefix of `bits` bits covers. */
const maskOf = (bits: number, index: number): number =>
  (0xff << (8 - Math.min(Math.max(bits - index * 8, 0), 8))) & 0xff;

/** Compiles a network such as `10.0.0.0/8`; an address alone is the network of itself. */
export function compileCidr(text: string): Cidr {
  const [address = '', prefix, ...more] = text.split('/');
  const base = addressBytes(address);
  if (base === undefined || more.length > 0)
    return { ok: false, reason: `${JSON.stringify(text)} is no network such as 10.0.0.0/8` };
  const mapped = base.length === 4 && address.includes(':') ? 96 : 0;
  const bits = prefix === undefined ? base.length * 8 : Number(prefix) - mapped;
  if ((prefix !== undefined && !/^\d{1,3}$/.test(prefix)) || bits < 0 || bits > base.length * 8)
    return { ok: false, reason: `${JSON.stringify(text)} has no prefix length of its family` };
  const masks = base.map((_byte, index) => maskOf(bits, index));
  if (base.some((byte, index) => (byte & ~(masks[index] as number)) !== 0))
    return { ok: false, reason: `${JSON.stringify(text)} has bits set behind its prefix` };
  const contains = (candidate: string): boolean => {
    const bytes = addressBytes(candidate);
    if (bytes?.length !== base.length) return false;
    return bytes.every((byte, index) => (byte & (masks[index] as number)) === base[index]);
  };
  return { ok: true, contains };
}
