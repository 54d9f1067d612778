import fs from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import type { WitnessAddress } from '../../ingest/seal/witnesses.ts';
import type { Removal } from '../../query/retention.ts';
import { escapeText, safeJson } from '../../query/timeline/escape.ts';
import { UnreadableError } from '../../schemas/evidence/format.ts';
import { isGood, type Report } from '../../schemas/evidence/report.ts';
import { type VerifyOptions, verifyEvidence } from '../../schemas/evidence/verify.ts';
import { authorizationFor } from '../access/credentials.ts';
import {
  checkFleet,
  type FleetReport,
  isFleetGood,
  isRemovedByPolicy,
  type SessionResult,
} from '../evidence/fleet.ts';
import { addressesOf, trustOf } from '../evidence/keys.ts';
import { placeText, reportText } from '../evidence/print.ts';
import { NoSessionError, stageSession } from '../evidence/stage.ts';
import { openBundle } from '../evidence/tar.ts';
import { tlogFetch } from '../evidence/tlog.ts';
import { TOOL } from '../evidence/tool.ts';
import { askWitnesses } from '../evidence/witnesses.ts';
import { UsageError } from '../process/lifecycle.ts';
import { destination } from '../settings.ts';
import { serverOf, withStageDir } from './export.ts';

const UNREADABLE = 2;
const SESSION_ID = /^(?:latest|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** All of it is written before the process may end. */
const print = (text: string): Promise<void> =>
  new Promise((resolve) => process.stdout.write(text, () => resolve()));

/** A bundle on disk; nothing is asked of any server. */
async function verifyFile(file: string, trust: VerifyOptions, sha256: string | undefined) {
  const bundle = await openBundle(file);
  try {
    const hash = sha256 === undefined ? {} : { sha256: { is: bundle.sha256, mustBe: sha256 } };
    return await verifyEvidence(bundle, { ...trust, ...hash });
  } finally {
    await bundle.close();
  }
}

/** A session that a server has: laid out as its bundle would be, and verified as that. */
async function verifySession(base: URL, session: string, trust: VerifyOptions): Promise<Report> {
  return withStageDir(os.tmpdir(), async (dir) => {
    const by = { at_ms: Date.now(), by: os.userInfo().username, reason: 'verify' };
    const content = 'full';
    const staged = await stageSession({ base, session, content, tool: TOOL, by, dir });
    return verifyEvidence(staged.files, trust).finally(staged.files.close);
  });
}

/** What is said of a session by its tombstone. */
function removalText({ policy, days, by, removed_ms }: Removal): string {
  const date = new Date(removed_ms).toISOString().slice(0, 10);
  return `removed by retention policy on ${date} under policy ${escapeText(policy)} (after ${days} days, run by ${escapeText(by)})`;
}

/** What is said of a session that the log vouches for and the store does not have. */
function goneText(one: SessionResult): string {
  const streams = Object.entries(one.vouched).map(([id, seq]) => `${id} up to event ${seq}`);
  const vouched = `the log vouches for ${streams.join(', ')}`;
  if (one.removal === undefined) return `removed: ${vouched}`;
  const words = removalText(one.removal);
  return isRemovedByPolicy(one)
    ? `${words}; ${vouched}`
    : `removed, and the tombstone does not cover it (${words}): ${vouched}`;
}

/** The tombstone that a server has of a session; undefined where it has none. */
async function removalAt(base: URL, session: string): Promise<Removal | undefined> {
  const url = new URL(`/v1/sessions/${encodeURIComponent(session)}/removal`, base);
  const response = await fetch(url, { redirect: 'error', headers: authorizationFor(base) });
  if (response.ok) return (await response.json()) as Removal;
  // A server of an earlier version has no tombstones, and a session that never was has none.
  if (response.status === 404 || response.status === 400) return undefined;
  throw new Error(`${base.origin} answers ${response.status} for the removal of ${session}`);
}

function fleetText({ logFaults, size, sessions }: FleetReport): string {
  const lines = logFaults.map((what) => `log fault: ${what}\n`);
  for (const one of sessions) {
    const { session_id, report } = one;
    if (report === undefined) {
      lines.push(`${session_id}  ${goneText(one)}\n`);
      continue;
    }
    const { integrity, completeness, assurance } = report;
    lines.push(
      `${session_id}  ${integrity.verdict}, ${completeness.verdict}, ${assurance.verdict}\n`,
    );
    const firsts = [integrity.first, isGood(report) ? undefined : completeness.first];
    for (const place of firsts) if (place !== undefined) lines.push(`    ${placeText(place)}\n`);
  }
  const gone = sessions.filter(({ report }) => report === undefined);
  const declared = gone.filter(isRemovedByPolicy).length;
  lines.push(
    `${sessions.length} sessions under ${size} heads of the log, ${gone.length - declared} removed, ${declared} removed by retention policy\n`,
  );
  return lines.join('');
}

async function verifyAll(
  base: URL,
  trust: VerifyOptions,
  witnesses: readonly WitnessAddress[],
  json: boolean,
): Promise<number> {
  const reportOf = ({ session_id }: { session_id: string }) =>
    verifySession(base, session_id, trust).catch((error: unknown) => {
      if (error instanceof NoSessionError) return removalAt(base, session_id);
      throw error;
    });
  const ask = (origin: string) => askWitnesses(witnesses, origin);
  const fleet = await checkFleet(tlogFetch(base), trust, reportOf, ask);
  await print(json ? `${safeJson(fleet)}\n` : fleetText(fleet));
  return isFleetGood(await withoutOpenJournals(base, fleet)) ? 0 : 1;
}

/**
 * The service's own streams are open while it runs, and no sensor saw them: they are told as they
 * are, and are good where nothing of them was changed and nothing is missing.
 */
async function withoutOpenJournals(base: URL, fleet: FleetReport): Promise<FleetReport> {
  const url = new URL('/v1/sessions?journal=1&first=1000', base);
  const response = await fetch(url, { redirect: 'error', headers: authorizationFor(base) });
  if (!response.ok) return fleet;
  const { sessions } = (await response.json()) as { sessions?: readonly { readonly id: string }[] };
  const journals = new Set(sessions?.map(({ id }) => id));
  const isSound = ({ session_id, report }: FleetReport['sessions'][number]) =>
    journals.has(session_id) &&
    report?.integrity.verdict === 'intact' &&
    report.completeness.verdict !== 'incomplete';
  return { ...fleet, sessions: fleet.sessions.filter((one) => !isSound(one)) };
}

function optionsOf(args: string[]) {
  const parsed = parseArgs({
    args,
    allowPositionals: true,
    options: {
      'log-key': { type: 'string', multiple: true, default: [] },
      witness: { type: 'string', multiple: true, default: [] },
      known: { type: 'string' },
      sha256: { type: 'string' },
      to: { type: 'string' },
      all: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const { values, positionals } = parsed;
  if (positionals.length !== (values.all ? 0 : 1))
    throw new UsageError('give one bundle or session, or --all');
  if (addressesOf(values).length > 0 && (!values.all || values['log-key'].length === 0))
    throw new UsageError('--witness URL=VKEY: a witness is asked with --all and --log-key only');
  if (values.sha256 !== undefined && !/^[0-9a-f]{64}$/.test(values.sha256))
    throw new UsageError('--sha256: 64 hexadecimal digits');
  return { values, target: positionals[0] ?? '' };
}

/**
 * `telltale verify`: the three verdicts on a bundle, a session or all of them. Exits with 0 where all
 * are good, 1 where one is not, 2 where nothing can be said.
 */
export async function verify(args: string[]): Promise<number> {
  const { values, target } = optionsOf(args);
  const trust = trustOf(values);
  const base = () => serverOf(values.to ?? destination());
  if (values.all) return verifyAll(base(), trust, addressesOf(values), values.json);
  const online = SESSION_ID.test(target) && !fs.existsSync(target);
  try {
    const report = online
      ? await verifySession(base(), target, trust)
      : await verifyFile(target, trust, values.sha256);
    await print(values.json ? `${safeJson(report)}\n` : reportText(report));
    return isGood(report) ? 0 : 1;
  } catch (error) {
    const system = (error as NodeJS.ErrnoException).code;
    const isSystem = system === 'ENOENT' || system === 'EISDIR' || system === 'EACCES';
    if (!(error instanceof UnreadableError || error instanceof NoSessionError || isSystem))
      throw error;
    const what = error instanceof Error ? error.message : String(error);
    const gone = online && target !== 'latest' ? await removalAt(base(), target) : undefined;
    const why = gone === undefined ? what : `it was ${removalText(gone)}`;
    process.stderr.write(`telltale: ${JSON.stringify(target)} can’t be verified: ${why}\n`);
    return UNREADABLE;
  }
}
