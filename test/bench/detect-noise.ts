/**
 * What the shipped rules say of sessions in which nothing bad happens: builds that are run here
 * under the kernel sensor, and captured sessions of a coding agent. Alerts by rule, for the noise
 * table of deploy/rules/default/README.md.
 *
 *     node --conditions=telltale-source --import tsx test/bench/detect-noise.ts
 *
 * A build that fails, for want of its tools say, is said and left out. Trap: events are a millisecond
 * apart, so more of them are within a rule's time than were.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createBacktest, createRuleSet, createViews, type Draft, decode } from '#schemas';
import { SHIPPED_RULES } from '../../deploy/rules/detection.ts';
import { readRuleFolder } from '../../deploy/rules/folder.ts';
import { BASE_ENV, here, recordRun } from '../collector/sensors/recorder.ts';
import { say } from './ingest/measure.ts';
import { captured } from './ingest/recorded.ts';
import { recordDrafts, steppingClock } from './workload.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const START_NS = 1_764_000_000_000_000_000n;

/** With the very Node that runs this, wherever it is installed. */
const ENV = {
  ...BASE_ENV,
  PATH: `${path.dirname(process.execPath)}:${BASE_ENV.PATH}`,
  HOME: os.homedir(),
};

/** What developers do all day, each as a script of a shell in a folder of its own. */
const BUILDS: Readonly<Record<string, string>> = {
  git: `git clone -q --depth 50 file://${ROOT} copy && cd copy && git checkout -q -b topic &&
    git config user.email a@b.c && git config user.name n && echo x >> README.md &&
    git commit -qam 'a change' && git log --oneline | head -5 && git diff HEAD~1 --stat && git gc -q`,
  make: `printf 'all: a.o b.o c.o\\n\\tcc -o app a.o b.o c.o\\nclean:\\n\\trm -f *.o app\\n' > Makefile &&
    echo 'int main(void){return 0;}' > a.c && echo 'int b;' > b.c && echo 'int c;' > c.c &&
    make -j2 && ./app && make clean`,
  npm: `cp ${ROOT}/package.json ${ROOT}/package-lock.json . && npm ci --ignore-scripts --prefer-offline --no-audit`,
  tsc: `cd ${ROOT} && node node_modules/typescript/bin/tsc --noEmit -p .`,
};

/** Alerts by rule, over one session of these drafts. */
async function alertsOf(n: number, drafts: readonly Draft[]) {
  const id = (kind: number) => `0193a5e0-000${kind}-7000-8000-${String(n).padStart(12, '0')}`;
  const who = { tenant: 'acme', agent: 'shell', host: 'here', user: 'agent' };
  const identity = { ...who, session_id: id(1), stream_id: id(2) };
  const { lines } = await recordDrafts(identity, drafts, steppingClock(START_NS, 1_000_000n));
  const rules = SHIPPED_RULES.flatMap((folder) => readRuleFolder(folder).rules);
  const test = createBacktest(createRuleSet(rules), createViews().views);
  const events = lines.flatMap((line) => {
    const decoded = decode(line.toString());
    return decoded.ok ? [decoded.event] : [];
  });
  const alerts = [...test.add(events), ...test.finish()];
  const counts = new Map<string, number>();
  for (const { rule } of alerts) {
    const name = `${rule.level}: ${rule.title}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return { events: events.length, alerts: Object.fromEntries(counts) };
}

const sessions: { name: string; drafts: readonly Draft[] }[] = [...captured()];
for (const [name, script] of here ? Object.entries(BUILDS) : []) {
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-noise-'));
  try {
    const { drafts, exit } = await recordRun(['bash', '-c', script], { cwd, env: ENV });
    if (exit.code === 0) sessions.push({ name, drafts });
    else say(`SKIPPED ${name}: it failed (${JSON.stringify(exit)}), so no build was recorded`);
  } catch (error) {
    say(`SKIPPED ${name}: ${error}`);
  } finally {
    fs.rmSync(cwd, { recursive: true, force: true });
  }
}
const results = [];
for (const [n, { name, drafts }] of sessions.entries())
  results.push({ name, ...(await alertsOf(n, drafts)) });
process.stdout.write(`${JSON.stringify({ bench: 'detect-noise', sessions: results })}\n`);
