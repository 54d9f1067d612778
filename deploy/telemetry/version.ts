import fs from 'node:fs';
import path from 'node:path';

/** The version of the package that this file belongs to; it lies above the source and `dist/`. */
function readVersion(): string {
  for (let dir = import.meta.dirname; ; dir = path.dirname(dir)) {
    const file = path.join(dir, 'package.json');
    if (fs.existsSync(file))
      return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version;
    if (dir === path.dirname(dir)) return 'unknown';
  }
}

export const VERSION = readVersion();
