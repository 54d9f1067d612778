/** The top of the printed story: who and when, the three verdicts, the counts, the findings. */
import { type Completeness, countRanges } from '#schemas';
import { escapeText, fitText, shellWords, widthOf } from './escape.ts';
import type { Finding } from './findings.ts';
import { count, dateTime, duration, groups, since } from './format.ts';
import { block, INDENT, type Page, VERBOSE_LINES } from './print-page.ts';
import type { Story } from './story.ts';

const FINDINGS_MAX = 12;
/** The longest finding's name. */
const LABEL_COLUMNS = 14;
/** Of the head's lines: what it is about, and the one word that says how it stands. */
const NAME_COLUMNS = 13;
const WORD_COLUMNS = 15;
const TEXT_LINES_MAX = 4;

type Verdict = readonly [paint: (word: string) => string, word: string, text: string];

function completenessOf(page: Page): Verdict {
  const { streams } = page.story;
  const all = streams.flatMap(({ completeness }) => completeness ?? []);
  if (all.length === 0) return [page.paint.dim, 'not checked', ''];
  const sum = (pick: (one: Completeness) => number) => all.reduce((n, one) => n + pick(one), 0);
  const verdicts = all.map(({ verdict }) => verdict);
  const parts = [
    `${groups(sum((one) => one.stored))} of ${groups(sum((one) => one.produced))} events are stored`,
  ];
  const declared = sum((one) => one.declaredMissing + one.unnumberedLost);
  const missing = sum((one) => countRanges(one.unaccounted));
  const parked = sum((one) => one.parked);
  if (parked > 0) parts.push(`${groups(parked)} parked`);
  if (declared > 0) parts.push(`${groups(declared)} declared lost`);
  if (all.some(({ unknownLoss }) => unknownLoss)) parts.push('an unknown number lost');
  if (missing > 0) parts.push(`${groups(missing)} missing without a word`);
  if (streams.length > 1) parts.push(count(streams.length, 'stream'));
  const text = parts.join(', ');
  if (verdicts.includes('incomplete')) return [page.paint.alarm, ' INCOMPLETE ', text];
  if (verdicts.includes('open')) return [page.paint.warn, 'OPEN', `${text}; not closed`];
  if (verdicts.includes('declared')) return [page.paint.warn, 'LOSS DECLARED', text];
  return [page.paint.good, 'COMPLETE', `${text}; closed`];
}

function integrityOf(page: Page): Verdict {
  const all = page.story.streams.flatMap(({ integrity }) => integrity ?? []);
  if (all.length === 0) return [page.paint.dim, 'not checked', ''];
  const covered = all.reduce((n, one) => n + one.covered, 0);
  const points = all.reduce((n, one) => n + one.checkpoints, 0);
  const text = `${count(covered, 'event')} covered by ${count(points, 'checkpoint')}`;
  if (all.some(({ verdict }) => verdict === 'broken')) return [page.paint.alarm, ' BROKEN ', text];
  if (all.some(({ verdict }) => verdict === 'unverifiable'))
    return [page.paint.warn, 'UNVERIFIABLE', text];
  return [page.paint.good, 'INTACT', text];
}

function assuranceOf(page: Page): Verdict {
  const { sensors } = page.story;
  if (sensors.length === 0)
    return [page.paint.warn, 'UNKNOWN', 'no sensor has told what it covers'];
  const words = sensors.map(({ name, coverage, rung }) =>
    escapeText(`${name} ${coverage}${rung === undefined ? '' : ` (rung ${rung})`}`),
  );
  const worst = ['none', 'partial'].find((word) => sensors.some((s) => s.coverage === word));
  const text = words.join(', ');
  if (worst === undefined) return [page.paint.good, 'FULL COVER', text];
  return [page.paint.warn, worst === 'none' ? 'BLIND IN PART' : 'PARTIAL COVER', text];
}

/** One line of the head; a text that is too long goes on below itself. */
function row(page: Page, name: string, [painted, word, text]: Verdict): string[] {
  const room = page.width - NAME_COLUMNS - WORD_COLUMNS;
  const head = `${name.padEnd(NAME_COLUMNS)}${painted(word)}`;
  const [first, ...rest] = block(text, room, TEXT_LINES_MAX);
  if (first === undefined) return [head];
  return [
    `${head}${' '.repeat(Math.max(1, WORD_COLUMNS - widthOf(word)))}${first}`,
    ...rest.map((line) => `${' '.repeat(NAME_COLUMNS + WORD_COLUMNS)}${line}`),
  ];
}

function endOf({ session }: Story): string {
  if (session.exitSignal !== undefined) return `ended by ${escapeText(session.exitSignal)}`;
  if (session.exitCode !== undefined) return `exit code ${session.exitCode}`;
  return session.closeReason === undefined ? 'no end recorded' : escapeText(session.closeReason);
}

/** Who, when and what; the three verdicts, never made one. */
export function header(page: Page): string[] {
  const { story, width, paint: p } = page;
  const { session, counts, usage } = story;
  const who = [session.agent || 'unknown agent', 'on', session.host || 'unknown host'];
  if (session.user !== '') who.push('as', session.user);
  const took = duration(Number(BigInt(session.endedNs) - BigInt(session.startedNs)));
  const when = `${dateTime(session.startedNs)}, ${took}, ${endOf(story)}`;
  const bad = [
    counts.failedCalls === 0 ? '' : `${groups(counts.failedCalls)} failed`,
    counts.deniedCalls === 0 ? '' : `${groups(counts.deniedCalls)} refused`,
  ].filter((text) => text !== '');
  const calls = `${count(counts.calls, 'call')}${bad.length === 0 ? '' : ` (${bad.join(', ')})`}`;
  const did = [
    count(counts.turns, 'turn'),
    calls,
    count(counts.processes, 'process', 'processes'),
    count(counts.files, 'file'),
    count(counts.connections, 'connection'),
  ].join(' · ');
  const plain = (word: string) => word;
  const tokens = `${groups(usage.inputTokens)} tokens in, ${groups(usage.outputTokens)} out`;
  const models = usage.models.map((model) => fitText(model, 40)).join(', ');
  return [
    `${p.bold('session')} ${fitText(session.id, width - 8)}`,
    `${fitText(who.join(' '), width)}`,
    p.dim(when),
    `${p.hint('$')} ${fitText(shellWords(session.command), width - 2)}`,
    ...(session.cwd === undefined ? [] : [p.dim(`  in ${fitText(session.cwd, width - 5)}`)]),
    '',
    ...row(page, 'completeness', completenessOf(page)),
    ...row(page, 'integrity', integrityOf(page)),
    ...row(page, 'assurance', assuranceOf(page)),
    ...row(page, 'recorded', [plain, count(counts.events, 'event'), did]),
    ...(models === '' && usage.requests === 0
      ? []
      : row(page, 'model', [plain, 'used', `${models} · ${tokens}`])),
  ];
}

/** What does not fit, the gravest first. */
export function findings(page: Page): string[] {
  const { story, paint: p, width, verbose } = page;
  if (story.findings.length === 0) return [];
  const shown = verbose ? story.findings : story.findings.slice(0, FINDINGS_MAX);
  const marked = ({ severity }: Finding, text: string) =>
    severity === 'high' ? p.bad(text) : severity === 'medium' ? p.warn(text) : p.dim(text);
  const lines = shown.flatMap((finding) => {
    const at = finding.ns === undefined ? '' : since(story.session.startedNs, finding.ns);
    const word = finding.kind.replaceAll('_', ' ').padEnd(LABEL_COLUMNS);
    const lines = block(
      finding.text,
      width - INDENT - LABEL_COLUMNS - 2,
      verbose ? VERBOSE_LINES : 2,
    );
    const [first = '', ...more] = lines;
    return [
      `${p.dim(at.padStart(INDENT - 3))} ${marked(finding, '!')} ${marked(finding, word)}  ${first}`,
      ...more.map((line) => `${' '.repeat(INDENT + LABEL_COLUMNS + 1)}${line}`),
    ];
  });
  const rest = story.findings.length - shown.length;
  if (rest > 0) lines.push(p.dim(`${' '.repeat(INDENT)}… and ${count(rest, 'more finding')}`));
  return ['', p.bold('findings'), ...lines];
}
