/** Reads socket addresses (struct sockaddr) and DNS questions out of the tracee's bytes. */
import { absolutePath } from './bytes.ts';

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;

export type Address =
  | { readonly family: 'ip'; readonly ip: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: Buffer }
  | { readonly family: 'other'; readonly number: number };

/**
 * A `struct sockaddr` of exactly the length that the caller gave to the kernel. IPv4 addresses in
 * IPv6 form (`::ffff:1.2.3.4`) are given as IPv4, since that is where the packets go. A unix
 * address without a NUL in front is a path, made absolute against `cwd`; an abstract one is
 * written as `@name`, as ss(8) does. Returns undefined where the bytes are too short.
 */
export function readAddress(bytes: Buffer, cwd: Buffer): Address | undefined {
  if (bytes.length < 2) return undefined;
  const family = bytes.readUInt16LE(0);
  if (family === AF_INET) {
    if (bytes.length < 8) return undefined;
    return { family: 'ip', ip: bytes.subarray(4, 8).join('.'), port: bytes.readUInt16BE(2) };
  }
  if (family === AF_INET6) {
    if (bytes.length < 24) return undefined;
    return { family: 'ip', ip: ipv6Text(bytes.subarray(8, 24)), port: bytes.readUInt16BE(2) };
  }
  if (family !== AF_UNIX) return { family: 'other', number: family };
  const name = bytes.subarray(2);
  if (name.length === 0) return { family: 'unix', path: name };
  if (name[0] === 0)
    return { family: 'unix', path: Buffer.concat([Buffer.from('@'), name.subarray(1)]) };
  const end = name.indexOf(0);
  return { family: 'unix', path: absolutePath(cwd, end < 0 ? name : name.subarray(0, end)) };
}

/** IPv6 in the text form of RFC 5952. */
function ipv6Text(bytes: Buffer): string {
  if (
    bytes.readUIntBE(0, 6) === 0 &&
    bytes.readUIntBE(6, 4) === 0 &&
    bytes.readUInt16BE(10) === 0xffff
  )
    return bytes.subarray(12).join('.');
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push(bytes.readUInt16BE(i));
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > bestLength) [best, bestLength] = [i, length];
  }
  const hex = words.map((word) => word.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}

export function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

const DNS_HEADER_BYTES = 12;
const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;

/**
 * The name of the first question of a DNS query (RFC 1035, 4.1), lower case, without the last
 * dot; undefined where the bytes are no query. A byte that is not printable ASCII is written as
 * `\DDD`, and a dot or backslash inside a label as `\.` and `\\` (RFC 1035, 5.1).
 */
export function readDnsQuestion(payload: Buffer): string | undefined {
  if (payload.length < DNS_HEADER_BYTES + 5) return undefined;
  const isQuery = ((payload[2] ?? 0) & 0xf8) === 0;
  if (!isQuery || payload.readUInt16BE(4) === 0) return undefined;
  const labels: string[] = [];
  let at = DNS_HEADER_BYTES;
  for (;;) {
    const length = payload[at];
    if (length === undefined || length > LABEL_BYTES_MAX) return undefined;
    if (length === 0) break;
    if (at + 1 + length >= payload.length || at - DNS_HEADER_BYTES > NAME_BYTES_MAX)
      return undefined;
    labels.push(labelText(payload.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  return labels.length === 0 || at + 5 > payload.length ? undefined : labels.join('.');
}

function labelText(bytes: Buffer): string {
  let text = '';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    if (byte <= 0x20 || byte >= 0x7f) text += `\\${String(byte).padStart(3, '0')}`;
    else text += char === '.' || char === '\\' ? `\\${char}` : char.toLowerCase();
  }
  return text;
}
