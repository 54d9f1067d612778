// What CI asks of the packages that this project stands on:
//   node deploy/supply/check.mjs [FILE]
// writes the bill of materials (CycloneDX, from the lock file; FILE: .cache/sbom.cdx.json), holds licences to
// the list, and asks the registry for known faults of what is shipped. A registry that has no such service is
// told of loudly and is no failure.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { licenceFaults, readLock } from './licences.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
const file = path.resolve(process.argv[2] ?? path.join(root, '.cache/sbom.cdx.json'));

/** npm's standard output, also where it ends with an error: an audit that found something does. */
function npm(...args) {
  const options = {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', 'pipe', 'ignore'],
  };
  try {
    return execFileSync('npm', args, options);
  } catch (error) {
    if (typeof error.stdout === 'string' && error.stdout !== '') return error.stdout;
    throw error;
  }
}

const bill = npm('sbom', '--sbom-format=cyclonedx', '--package-lock-only');
fs.mkdirSync(path.dirname(file), { recursive: true });
fs.writeFileSync(file, bill);
process.stdout.write(`${JSON.parse(bill).components.length} components: ${file}\n`);

const licences = licenceFaults(readLock(path.join(root, 'package-lock.json')));
for (const fault of licences) process.stderr.write(`licence not allowed: ${fault}\n`);

const audit = JSON.parse(npm('audit', '--omit=dev', '--json'));
const found = audit.metadata?.vulnerabilities;
if (found === undefined)
  process.stderr.write(
    `AUDIT SKIPPED: the registry did not answer it: ${audit.message ?? 'no reason'}\n`,
  );
else
  process.stdout.write(
    `audit: ${found.total} known faults, ${found.high + found.critical} of them high or critical\n`,
  );
const faulty = found !== undefined && found.high + found.critical > 0;
process.exitCode = licences.length > 0 || faulty ? 1 : 0;
