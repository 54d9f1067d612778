// Copies into dist/ what code reads beside itself and the compiler leaves behind: migrations, the
// broker's files, the investigation page. Run by `npm run build` after tsc.
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const FOLDERS = ['schemas', 'collector', 'ingest', 'query', 'deploy'];
const ENDINGS = new Set([
  '.sql',
  '.xml',
  '.properties',
  '.json',
  '.graphql',
  '.proto',
  '.html',
  '.css',
  '.svg',
  '.yaml',
  '.yml',
  // The native supervisor is compiled where it is run.
  '.c',
  '.h',
]);
/** Generated for readers; nothing loads them at run time. */
const LEFT_OUT = new Set(['schemas/json', 'schemas/lock.json']);

/** Every data file below `folder`, relative to the root. */
function assets(folder) {
  return fs.readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`;
    if (LEFT_OUT.has(name) || entry.name === 'node_modules') return [];
    if (entry.isDirectory()) return assets(name);
    // A folder of rules says by its licence what the rules in it are under.
    const isLicense = entry.name.startsWith('LICENSE');
    return isLicense || ENDINGS.has(path.extname(entry.name)) ? [name] : [];
  });
}

for (const name of FOLDERS.filter((folder) => fs.existsSync(path.join(root, folder))).flatMap(
  assets,
)) {
  const target = path.join(root, 'dist', name);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.copyFileSync(path.join(root, name), target);
}
