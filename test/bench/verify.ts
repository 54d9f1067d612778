/**
 * What verifying costs: a bundle of many events is made, and `telltale verify` is run on it in a process of
 * its own. `npm run bench:verify -- --events 1000000`. CPU time of the whole command is what counts.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  checkpointStatement,
  checkpointText,
  createChain,
  digestOf,
  encodeHead,
  formatNote,
  headOf,
  inclusionProof,
  kindSpec,
  leafHash,
  publicKeyText,
  readerOf,
  rootOfLeaves,
  SIGNATURE_ED25519,
  signerOf,
  signNote,
  type TelltaleEvent,
} from '#schemas';
import { createStagedFiles } from '../../deploy/evidence/files.ts';
import { writeBundle } from '../../deploy/evidence/tar.ts';
import { createBundleWriter } from '../../schemas/evidence/write.ts';

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1000000' },
    every: { type: 'string', default: '1000' },
    keep: { type: 'string' },
  },
});
const count = Number(values.events);
const every = Number(values.every);
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-verify-'));
const ID = {
  tenant: 'acme',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-0000000000aa',
};
const START_NS = 1_764_000_000_000_000_000n;

/** The mix of a coding session, by what it costs: processes, files, connections, some conversation. */
const MIX: readonly Record<string, unknown>[] = [
  {
    kind: 'exec',
    exe: '/usr/bin/git',
    argv: ['git', 'status', '--porcelain', '-uall'],
    cwd: '/srv/app',
    outcome: 'success',
    pid: 4711,
    ppid: 4710,
  },
  {
    kind: 'file',
    file_op: 'write',
    file_path: '/srv/app/src/components/table.tsx',
    file_bytes: 8123,
    pid: 4711,
  },
  { kind: 'exit', pid: 4711, exit_code: 0, duration_ns: 12_345_678 },
  {
    kind: 'file',
    file_op: 'create',
    file_path: '/srv/app/node_modules/.cache/x/1f2e3d4c',
    pid: 4712,
  },
  {
    kind: 'net',
    net_op: 'connect',
    net_ip: '192.0.2.7',
    net_port: 443,
    net_transport: 'tcp',
    pid: 4712,
  },
  {
    kind: 'exec',
    exe: '/usr/bin/rg',
    argv: ['rg', '-n', 'createTable', 'src'],
    cwd: '/srv/app',
    outcome: 'success',
    pid: 4713,
    ppid: 4710,
  },
  { kind: 'exit', pid: 4713, exit_code: 0, duration_ns: 5_345_678 },
  {
    kind: 'tool.result',
    tool: 'shell',
    outcome: 'success',
    exit_code: 0,
    output: 'src/components/table.tsx:12: export function createTable() {\n'.repeat(8),
    tool_call_id: 'call_0123456789abcdef',
  },
];

function make(): string {
  const files = createStagedFiles(dir);
  for (const name of [
    'events.ndjson',
    'blobs.ndjson',
    'dead-letters.ndjson',
    'custody.ndjson',
  ] as const)
    files.put(name, '');
  const writer = createBundleWriter(
    { tenant: ID.tenant, session_id: ID.session_id, content: 'full', tool: 'bench' },
    files.put,
  );
  const chain = createChain(ID);
  const leaves: Buffer[] = [];
  let key = generateKeyPairSync('ed25519');
  const salts = randomBytes(16 * 4096).toString('hex');
  for (let seq = 0; seq < count; seq++) {
    const last = seq === count - 1;
    const point = seq > 0 && (last || seq % every === 0);
    const own: Record<string, unknown> =
      seq === 0
        ? {
            kind: 'session.open',
            schema_version: '2',
            command_args: ['codex'],
            public_key: publicKeyText(key.publicKey),
          }
        : point
          ? {
              kind: last ? 'session.close' : 'session.heartbeat',
              chain_count: seq,
              chain_head: chain.head,
              ...(last ? { close_reason: 'exited' } : {}),
            }
          : seq === 1
            ? { kind: 'sensor', sensor_name: 'seccomp', sensor_rung: 1, coverage: 'complete' }
            : (MIX[seq % MIX.length] as Record<string, unknown>);
    const ts = String(START_NS + BigInt(seq) * 1_000_000n);
    const event: Record<string, unknown> = {
      ...own,
      ...ID,
      seq,
      ts,
      observed_ts: ts,
      source: 'seccomp',
      assurance: 'observed',
      agent: 'codex',
      host: 'box-1',
      user: 'agent',
      turn_id: 'turn_0123456789',
    };
    if (kindSpec(event.kind as never).content.some((name) => event[name] !== undefined))
      event.content_salt = salts.slice((seq % 4096) * 32, (seq % 4096) * 32 + 32);
    if (point) {
      const next = generateKeyPairSync('ed25519');
      if (!last) event.next_public_key = publicKeyText(next.publicKey);
      event.signature = sign(
        null,
        checkpointStatement(ID, event as unknown as TelltaleEvent),
        key.privateKey,
      ).toString('base64');
      key = next;
    }
    const stamped = event as unknown as TelltaleEvent;
    chain.push(digestOf(stamped));
    const head = seq % (60 * every) === 0 || last ? headOf(stamped) : undefined;
    if (head !== undefined) leaves.push(encodeHead(head));
    writer.addEvent(stamped);
  }
  writer.addStream({ stream_id: ID.stream_id, first_ms: 1, last_ms: 2 });
  return seal(files, writer, leaves);
}

const LOG = signerOf('log.example', SIGNATURE_ED25519, Buffer.alloc(32, 7));
const bundle = path.join(dir, 'bundle.tar');
let finish: () => Promise<void> = async () => {};

function seal(
  files: ReturnType<typeof createStagedFiles>,
  writer: ReturnType<typeof createBundleWriter>,
  leaves: readonly Buffer[],
): string {
  finish = async () => {
    const hashes = leaves.map((leaf) => leafHash(leaf));
    const text = checkpointText({
      origin: 'log.example',
      size: leaves.length,
      root: rootOfLeaves(hashes),
    });
    const proofs = await Promise.all(
      leaves.map(async (leaf, index) => ({
        index,
        leaf: leaf.toString(),
        proof: await inclusionProof(index, leaves.length, readerOf(hashes)),
      })),
    );
    const log = {
      origin: 'log.example',
      size: leaves.length,
      note: formatNote(text, [signNote(text, LOG)]),
      proofs,
    };
    writer.finish(log, { at_ms: 1, by: 'bench', from: '', reason: '' });
    files.put('manifest.json', writer.manifest(files.finish(), log));
    files.finish();
    await writeBundle(files, bundle);
    files.close();
  };
  return bundle;
}

const making = process.cpuUsage();
make();
await finish();
const made = process.cpuUsage(making);
const seconds = ({ user, system }: { user: number; system: number }) => (user + system) / 1e6;
console.log(
  `${count} events, ${(fs.statSync(bundle).size / 1e6).toFixed(1)} MB, made in ${seconds(made).toFixed(1)} s of CPU`,
);
const cli = path.resolve(import.meta.dirname, '../../deploy/cli.ts');
/** The command tells at its end what it took itself; nothing of this process is counted. */
const METER = `data:text/javascript,process.on('exit',()=>{const{user,system}=process.cpuUsage();
process.stderr.write(JSON.stringify({cpuSeconds:(user+system)/1e6,residentMiBMax:Math.round(process.resourceUsage().maxRSS/1024)})+'\\n')})`;
const source = ['--conditions=telltale-source', '--import', 'tsx', '--import', METER];
const flags = [...source, cli, 'verify', bundle, '--log-key', LOG.verifier.text];
const started = performance.now();
const run = spawnSync(process.execPath, flags, { encoding: 'utf8' });
const wallSeconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(`${run.stdout}exit code ${run.status}, ${wallSeconds} s of wall time, ${run.stderr}`);
if (values.keep === undefined) fs.rmSync(dir, { recursive: true, force: true });
else console.log(bundle);
