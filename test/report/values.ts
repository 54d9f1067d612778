/** Values as a person reads them, by Grafana's names of units; and text that is safe in HTML. */

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** All telemetry is an attacker's text: in HTML it stands only after this. */
export const escaped = (text: string): string =>
  text
    .replace(/[&<>"']/g, (sign) => ESCAPES[sign] as string)
    // Nothing that moves the reader's eye elsewhere: controls, and marks that turn text around.
    .replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });

function scaled(value: number, base: number, names: readonly string[]): string {
  let at = 0;
  let left = value;
  for (; Math.abs(left) >= base && at < names.length - 1; at++) left /= base;
  return `${whole.format(left)} ${names[at]}`;
}

/** Seconds in the unit that a person would use. */
function duration(seconds: number): string {
  if (seconds === 0) return '0 s';
  if (seconds < 1) return `${whole.format(seconds * 1000)} ms`;
  if (seconds < 120) return `${whole.format(seconds)} s`;
  return seconds < 7200 ? `${whole.format(seconds / 60)} min` : `${whole.format(seconds / 3600)} h`;
}

/** A number with its unit: `short` to see how much, `locale` (and no unit) to read it exactly. */
export function shown(value: number, unit: string | undefined): string {
  switch (unit) {
    case 'bytes':
      return scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
    case 'ms':
      return duration(value / 1000);
    case 's':
      return duration(value);
    case 'percent':
      return `${whole.format(value)} %`;
    case 'none':
      return String(value);
    case 'short':
      return compact.format(value);
    default:
      return whole.format(value);
  }
}

/** `YYYY-MM-DD hh:mm:ss.fraction` in UTC -> milliseconds since 1970. */
export const msOf = (time: unknown): number =>
  Date.parse(`${String(time).slice(0, 23).replace(' ', 'T')}Z`);

/** A time as a table has it. */
export const timeText = (time: unknown): string => String(time).slice(0, 19);
