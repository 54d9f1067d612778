/** What all parts of the printed story share: the page, its columns, and wrapped text. */
import { escapeText, widthOf } from './escape.ts';
import type { Paint } from './format.ts';
import type { Story } from './story.ts';

export interface PrintOptions {
  /** Columns of the terminal; at least 60 are used. */
  readonly width: number;
  readonly color: boolean;
  /** Everything: all processes, files, model requests, and the text of outputs. */
  readonly verbose: boolean;
}

/** Where what belongs to a time is printed: after the time and its mark. */
export const INDENT = 12;
/** Lines of one text in the verbose form. */
export const VERBOSE_LINES = 40;

export interface Page extends PrintOptions {
  readonly paint: Paint;
  readonly story: Story;
}

export const indent = (lines: readonly string[]): string[] =>
  lines.map((line) => `${' '.repeat(INDENT)}${line}`);

/** Lines of a text, each escaped and wrapped; at most `max`, the cut shown. */
export function block(text: string, columns: number, max: number): string[] {
  const out: string[] = [];
  const source = text.slice(0, columns * (max + 2) * 4);
  for (const line of source.split(/\r?\n/)) {
    if (line.trim() === '') continue;
    let rest = escapeText(line.toWellFormed());
    while (rest !== '' && out.length <= max) {
      let width = 0;
      let at = 0;
      for (const char of rest) {
        width += widthOf(char);
        if (width > columns) break;
        at += char.length;
      }
      const space = at < rest.length ? rest.lastIndexOf(' ', at) : at;
      const cut = space > columns / 2 ? space : Math.max(at, 1);
      out.push(rest.slice(0, cut).trimEnd());
      rest = rest.slice(cut).trimStart();
    }
    if (out.length > max) break;
  }
  if (out.length <= max && source.length === text.length) return out;
  const shown = out.slice(0, max);
  const last = shown.pop() ?? '';
  return [...shown, widthOf(last) < columns ? `${last}…` : `${[...last].slice(0, -1).join('')}…`];
}
