// Makes the secrets that deploy/compose.yaml mounts: random, each in a file that its owner alone can
// read. What is there already is kept. No dependency: it runs before anything is installed.
//   node deploy/docker/secrets.mjs [DIR]      DIR: .telltale of the repository
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const SECRET_BYTES = 32;
const ACCOUNTS = ['ingest', 'query', 'grafana', 'migrate'];
const root = path.resolve(import.meta.dirname, '../..');
const dir = path.resolve(process.argv[2] ?? path.join(root, '.telltale'));
const secrets = path.join(dir, 'secrets');
fs.mkdirSync(secrets, { recursive: true, mode: 0o700 });

const random = () => randomBytes(SECRET_BYTES).toString('base64url');
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/** What a file holds; made where there is none. */
function kept(name, make) {
  const file = path.join(secrets, name);
  try {
    fs.writeFileSync(file, make(), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  return fs.readFileSync(file, 'utf8');
}

const hashes = ACCOUNTS.map((name) => [
  `TELLTALE_${name.toUpperCase()}_SHA256`,
  sha256(kept(`store_${name}`, random)),
]);
kept('grafana_admin', random);

// The first API token, in the form of "telltale token create"; the service is given its hash alone.
const token = kept('api_token', () => `tt_${random()}`);
const record = () => ({
  id: randomBytes(6).toString('hex'),
  name: 'first',
  sha256: sha256(token),
  tenant: 'default',
  roles: ['admin'],
  scopes: [],
  created: new Date().toISOString(),
});
kept(
  'tokens.json',
  () => `${JSON.stringify({ format: 'telltale-tokens/1', tokens: [record()] }, null, 2)}\n`,
);

// The id of a cluster of brokers is no secret, and must stay: it follows from what is kept. Kafka's form
// is 16 bytes as base64url; one that starts with a dash is refused.
const clusterId = createHash('sha256')
  .update(`cluster ${token}`)
  .digest()
  .subarray(0, 16)
  .toString('base64url')
  .replace(/^-/, 'A');

// Files of compose secrets keep owner and mode, so the containers run as their owner. The hashes are
// of 256 random bits: to know one opens nothing.
const environment = [
  ['TELLTALE_UID', process.getuid()],
  ['TELLTALE_GID', process.getgid()],
  ['TELLTALE_SECRETS', secrets],
  ...hashes,
  ['TELLTALE_KAFKA_CLUSTER', clusterId],
];
const file = path.join(dir, 'compose.env');
fs.writeFileSync(file, environment.map(([name, value]) => `${name}=${value}\n`).join(''), {
  mode: 0o600,
});
process.stdout.write(`secrets: ${secrets}\nnow: docker compose --env-file ${file} `);
process.stdout.write('-f deploy/compose.yaml up --build --detach\n');
