/** Looks at a page in headless Chromium: a picture of it, and what became of its document. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PAGE_WIDTH } from './page.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const LOOK_MS_MAX = 60_000;
const MARGIN_PIXELS = 40;

/** The first that is there. */
export function findChromium(): string | undefined {
  const places = (process.env.PATH ?? '').split(path.delimiter);
  const files = NAMES.flatMap((name) => places.map((place) => path.join(place, name)));
  return files.find((file) => fs.existsSync(file));
}

function run(chromium: string, profile: string, args: readonly string[]): string {
  const done = spawnSync(
    chromium,
    [
      ...['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars'],
      ...['--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run'],
      `--user-data-dir=${profile}`,
      ...args,
    ],
    { encoding: 'utf8', timeout: LOOK_MS_MAX, maxBuffer: 64 * 1024 ** 2 },
  );
  if (done.status !== 0) throw new Error(`chromium ended with ${done.status}: ${done.stderr}`);
  return done.stdout;
}

/** Takes a picture beside the page, and says what is wrong with it, a line each. */
export function look(chromium: string, file: string, heightPixels: number): string[] {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-chromium-'));
  const name = path.basename(file);
  try {
    const size = `--window-size=${PAGE_WIDTH + MARGIN_PIXELS},${heightPixels}`;
    const png = file.replace(/\.html$/, '.png');
    run(chromium, profile, [size, `--screenshot=${png}`, `file://${file}`]);
    const dom = run(chromium, profile, ['--dump-dom', `file://${file}`]);
    const count = (pattern: RegExp) => dom.match(pattern)?.length ?? 0;
    const panels = count(/<section /g);
    const filled = count(/<svg |<div class="(?:stat|scroll|empty)/g);
    return [
      ...(panels > 0 && filled >= panels
        ? []
        : [`${name}: ${filled} of ${panels} panels are drawn`]),
      // All telemetry is hostile: none of it may have become an element.
      ...(count(/<(?:script|img|iframe|object|embed|form|input|b\b)[^>]*>/g) > 1
        ? [`${name}: an element that the page does not make`]
        : []),
      ...(count(/\son\w+=/g) > count(/&lt;img src=x onerror=/g)
        ? [`${name}: a handler of events`]
        : []),
      ...(dom.includes('NaN') ? [`${name}: NaN is shown`] : []),
      ...(fs.statSync(png).size > 20_000 ? [] : [`${name}: the picture is empty`]),
    ];
  } finally {
    fs.rmSync(profile, { recursive: true, force: true });
  }
}
