const plain = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;

/**
 * A value as words: lists joined by blanks, objects as JSON, absent as the empty string. Never
 * throws, whatever an attacker made of the value.
 */
export function words(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return value.map(words).join(' ');
  return typeof value === 'object' ? (JSON.stringify(value, plain) ?? '') : String(value);
}
