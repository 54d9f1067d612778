/** The top of the printed story: who and when, the three verdicts, the counts, the findings. */
import { type Completeness, countRanges } from '#schemas';
import { escapeText, fitText, shellWords } from './escape.ts';
import type { Finding } from './findings.ts';
import { count, dateTime, duration, groups, since } from './format.ts';
import { block, INDENT, type Page, VERBOSE_LINES } from './print-page.ts';
import type { Story } from './story.ts';

const FINDINGS_MAX = 12;
/** The longest finding's name. */
const LABEL_COLUMNS = 14;

function completenessOf(page: Page): [string, string] {
  const { streams } = page.story;
  const all = streams.flatMap(({ completeness }) => completeness ?? []);
  if (all.length === 0) return [page.paint.dim('not checked'), ''];
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
  if (verdicts.includes('incomplete')) return [page.paint.alarm(' INCOMPLETE '), text];
  if (verdicts.includes('open')) return [page.paint.warn('OPEN'), `${text}; not closed`];
  if (verdicts.includes('declared')) return [page.paint.warn('LOSS DECLARED'), text];
  return [page.paint.good('COMPLETE'), `${text}; closed`];
}

function integrityOf(page: Page): [string, string] {
  const all = page.story.streams.flatMap(({ integrity }) => integrity ?? []);
  if (all.length === 0) return [page.paint.dim('not checked'), ''];
  const covered = all.reduce((n, one) => n + one.covered, 0);
  const points = all.reduce((n, one) => n + one.checkpoints, 0);
  const text = `${count(points, 'signed checkpoint')} cover ${count(covered, 'event')}`;
  if (all.some(({ verdict }) => verdict === 'broken')) return [page.paint.alarm(' BROKEN '), text];
  if (all.some(({ verdict }) => verdict === 'unverifiable'))
    return [page.paint.warn('UNVERIFIABLE'), text];
  return [page.paint.good('INTACT'), text];
}

function assuranceOf(page: Page): [string, string] {
  const { sensors } = page.story;
  if (sensors.length === 0)
    return [page.paint.warn('UNKNOWN'), 'no sensor has told what it covers'];
  const words = sensors.map(({ name, coverage, rung }) =>
    escapeText(`${name} ${coverage}${rung === undefined ? '' : ` (rung ${rung})`}`),
  );
  const worst = ['none', 'partial'].find((word) => sensors.some((s) => s.coverage === word));
  const head =
    worst === undefined
      ? page.paint.good('FULL COVER')
      : page.paint.warn(worst === 'none' ? 'BLIND IN PART' : 'PARTIAL COVER');
  return [head, words.join(', ')];
}

function endOf({ session }: Story): string {
  if (session.exitSignal !== undefined) return `ended by ${escapeText(session.exitSignal)}`;
  if (session.exitCode !== undefined) return `exit code ${session.exitCode}`;
  return session.closeReason === undefined ? 'no end recorded' : escapeText(session.closeReason);
}

export function header(page: Page): string[] {
  const { story, width, paint: p } = page;
  const { session, counts, usage } = story;
  const who = [session.agent || 'unknown agent', 'on', session.host || 'unknown host'];
  if (session.user !== '') who.push('as', session.user);
  const took = duration(Number(BigInt(session.endedNs) - BigInt(session.startedNs)));
  const when = `${dateTime(session.startedNs)}, ${took}, ${endOf(story)}`;
  const row = (name: string, [head, text]: [string, string]) => {
    const line = `${name.padEnd(13)}${head}`;
    return text === '' ? line : `${line}  ${text}`;
  };
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
  const tokens = `${usage.models.map((model) => fitText(model, 40)).join(', ')} · ${groups(usage.inputTokens)} tokens in, ${groups(usage.outputTokens)} out`;
  return [
    `${p.bold('session')} ${escapeText(session.id)}`,
    `${fitText(who.join(' '), width)}`,
    p.dim(when),
    `${p.hint('$')} ${fitText(shellWords(session.command), width - 2)}`,
    ...(session.cwd === undefined ? [] : [p.dim(`  in ${fitText(session.cwd, width - 5)}`)]),
    '',
    row('completeness', completenessOf(page)),
    row('integrity', integrityOf(page)),
    row('assurance', assuranceOf(page)),
    row('recorded', [`${count(counts.events, 'event')}`, did]),
    ...(usage.models.length + usage.inputTokens === 0 ? [] : [row('model', [tokens, ''])]),
  ];
}

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
