/**
 * The triage packet for a terminal: the verdicts, the findings with their evidence, what was asked,
 * and the calls that matter with who approved them. Every string of telemetry is escaped.
 */
import { REGISTRY } from '#schemas';
import { fitText } from './escape.ts';
import { count, groups, paint, since } from './format.ts';
import { peerOf } from './print-effects.ts';
import { findings, header } from './print-header.ts';
import { block, INDENT, indent, type Page, type PrintOptions } from './print-page.ts';
import type { Proof } from './proofs.ts';
import type { Fact, Triage, TriageCall } from './triage.ts';

const WIDTH_MIN = 60;
const WIDTH_MAX = 160;
const PROMPT_LINES = 4;
const DESTINATIONS_MAX = 12;
/** So much of a digest is enough to find it again by. */
const DIGEST_CHARS = 16;

const summaryOf = ({ event }: Fact): string =>
  REGISTRY.get(event.kind)?.summary(event as unknown as Record<string, unknown>) ?? event.kind;

/** Where it stands in the chain: `#17 proved 3f2a… by #20`. */
function proofText({ seq, digest, status, checkpoint }: Proof): string {
  const by = checkpoint === undefined ? '' : ` by #${checkpoint.seq}`;
  return `#${seq} ${status} ${(digest ?? '').slice(0, DIGEST_CHARS)}${by}`;
}

function factLine(page: Page, fact: Fact): string {
  const proof = proofText(fact.proof);
  const room = Math.max(12, page.width - INDENT - proof.length - 4);
  const { status } = fact.proof;
  const painted = status === 'proved' ? page.paint.dim(proof) : page.paint.warn(proof);
  const text = fitText(summaryOf(fact).replace(/\s+/g, ' '), room);
  return `${text.padEnd(room)}  ${painted}`;
}

function callLines(page: Page, call: TriageCall): string[] {
  const { paint: p, story, width } = page;
  const { item, focus, coverage } = call;
  const at = since(story.session.startedNs, item.ns).padStart(INDENT - 3);
  const mark = focus ? p.alarm('!') : '·';
  const watched = coverage === 'complete' ? '' : `  (coverage ${coverage})`;
  const name = fitText(
    `${item.call.tool ?? 'tool'}  ${item.call.command ?? ''}`,
    width - INDENT - 20,
  );
  const facts = [
    ...call.said.slice(0, 1),
    ...call.approvals,
    ...call.decisions,
    ...call.effects,
    ...call.results.slice(0, 1),
  ];
  return [
    `${p.dim(at)} ${mark} ${p.bold(name)}${p.warn(watched)}`,
    ...indent(facts.map((fact) => factLine(page, fact))),
    ...indent(
      call.findings.map(({ text, kind }) => p.bad(fitText(`! ${kind}: ${text}`, width - INDENT))),
    ),
  ];
}

function networkLines(page: Page, { network }: Triage): string[] {
  if (network.length === 0) return [];
  const shown = network.slice(0, DESTINATIONS_MAX).map((one) => {
    const ip = one.ips[0];
    const peer = peerOf({
      ...(one.host === undefined ? {} : { host: one.host }),
      ...(ip === undefined ? {} : { ip }),
      ...(one.port === undefined ? {} : { port: one.port }),
      ...(one.path === undefined ? {} : { path: one.path }),
    });
    const facts = [
      one.connects > 0 ? count(one.connects, 'connect') : '',
      one.failed > 0 ? `${groups(one.failed)} failed` : '',
      one.lookups > 0 ? count(one.lookups, 'lookup') : '',
      one.denied > 0 ? `${groups(one.denied)} denied` : '',
      one.madeThoughDenied ? 'made although denied' : '',
    ].filter((text) => text !== '');
    const line = fitText(`${peer}  ${facts.join(', ')}`, page.width - INDENT);
    return one.denied > 0 ? page.paint.bad(line) : line;
  });
  const rest = network.length - shown.length;
  if (rest > 0) shown.push(page.paint.dim(`… and ${count(rest, 'more destination')}`));
  return ['', page.paint.bold('network'), ...indent(shown)];
}

/** The packet as text. Ends with a newline; holds no control character of telemetry. */
export function printTriage(triage: Triage, options: PrintOptions): string {
  const width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, Math.floor(options.width)));
  const { story } = triage;
  const page: Page = { ...options, width, paint: paint(options.color), story };
  const { paint: p } = page;
  const asked = triage.request.flatMap((fact) => [
    ...block(fact.event.prompt ?? '(the prompt was not kept)', width - INDENT, PROMPT_LINES),
    p.dim(proofText(fact.proof)),
  ]);
  const left = triage.leftOut.map(({ what, count: n }) => `${groups(n)} ${what}`);
  const lines = [
    ...header(page),
    ...findings(page),
    ...(asked.length === 0 ? [] : ['', p.bold('asked for'), ...indent(asked)]),
    ...(triage.calls.length === 0 ? [] : ['', p.bold('calls')]),
    ...triage.calls.flatMap((call) => callLines(page, call)),
    ...networkLines(page, triage),
    ...(left.length === 0 ? [] : ['', p.dim(fitText(`left out: ${left.join(', ')}`, width))]),
  ];
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}
