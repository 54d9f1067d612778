/** A field's value as words for a summary: lists joined by blanks, absent is the empty string. */
export function words(value: unknown): string {
  if (value === undefined || value === null) return '';
  return Array.isArray(value) ? value.join(' ') : String(value);
}
