import fs from 'node:fs';

/** The nearest package.json upwards: beside the sources, or above `dist/`. */
function version(): string {
  for (const up of ['../../package.json', '../../../package.json']) {
    const file = new URL(up, import.meta.url);
    if (fs.existsSync(file))
      return String((JSON.parse(fs.readFileSync(file, 'utf8')) as { version: unknown }).version);
  }
  return '0.0.0';
}

/** What writes bundles, as their manifests name it. */
export const TOOL = `telltale ${version()}`;
