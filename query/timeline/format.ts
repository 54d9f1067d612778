/** Words for numbers, times and lists; and the colours, which are only there when asked for. */

export interface Paint {
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly good: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly hint: (text: string) => string;
  readonly alarm: (text: string) => string;
}

const sgr = (on: string) => (text: string) => (text === '' ? '' : `\u001b[${on}m${text}\u001b[0m`);
const plain = (text: string) => text;

/** The colours; without `color` every one of them leaves its text as it is. */
export function paint(color: boolean): Paint {
  return color
    ? {
        dim: sgr('2'),
        bold: sgr('1'),
        bad: sgr('31'),
        good: sgr('32'),
        warn: sgr('33'),
        hint: sgr('36'),
        alarm: sgr('1;37;41'),
      }
    : { dim: plain, bold: plain, bad: plain, good: plain, warn: plain, hint: plain, alarm: plain };
}

/** Digits in groups of three, thin and the same in every locale. */
export const groups = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ' ');

export const count = (n: number, one: string, more = `${one}s`): string =>
  `${groups(n)} ${n === 1 ? one : more}`;

const NS_PER_MS = 1_000_000;

/** A duration in nanoseconds, as short as it can be said: `88 ms`, `12.3 s`, `3 min 12 s`. */
export function duration(ns: number): string {
  const ms = ns / NS_PER_MS;
  if (ms < 1) return `${Math.max(0, ms).toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(1)} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(min / 60)} h ${min % 60} min`;
}

const two = (n: number) => String(n).padStart(2, '0');

/** The time since `startNs`: `+12.345`, `+3:12.345`, `+1:02:03`; before it with a minus. */
export function since(startNs: string, ns: string): string {
  const delta = BigInt(ns) - BigInt(startNs);
  const ms = Number((delta < 0n ? -delta : delta) / 1_000_000n);
  const sign = delta < 0n ? '-' : '+';
  const s = Math.floor(ms / 1000);
  const rest = `.${String(ms % 1000).padStart(3, '0')}`;
  if (s < 60) return `${sign}${s}${rest}`;
  if (s < 3600) return `${sign}${Math.floor(s / 60)}:${two(s % 60)}${rest}`;
  return `${sign}${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/** `2026-11-24 16:00:00 UTC` */
export function dateTime(ns: string): string {
  const date = new Date(Number(BigInt(ns) / 1_000_000n));
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** RFC 3339 in UTC with nine digits of a second: exact. */
export function rfc3339(ns: string): string {
  const all = BigInt(ns);
  const date = new Date(Number(all / 1_000_000n));
  return `${date.toISOString().slice(0, 19)}.${String(all % 1_000_000_000n).padStart(9, '0')}Z`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A size in bytes, in powers of 1000. */
export function size(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Names with how often each comes, the most frequent first: `node ×20, sh ×3`. */
export function tally(names: readonly string[], max: number): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const shown = sorted.slice(0, max).map(([name, n]) => (n === 1 ? name : `${name} ×${n}`));
  return sorted.length > max ? `${shown.join(', ')}, …` : shown.join(', ');
}
