/**
 * The story of a session for a terminal: dense, in order, and safe. Every string of telemetry goes
 * through `escape.ts`; colours and rules are the only control characters that are printed, and
 * only with `color`.
 */
import { REGISTRY } from '#schemas';
import { escapeText, fitText, widthOf } from './escape.ts';
import { count, duration, groups, paint, since, size } from './format.ts';

export type { PrintOptions } from './print-page.ts';

import type { DeadLetter, ParkedRun } from './parked.ts';
import { effectLines, type Frame, sides } from './print-effects.ts';
import { findings, header } from './print-header.ts';
import {
  block,
  INDENT,
  indent,
  type Page,
  type PrintOptions,
  VERBOSE_LINES,
} from './print-page.ts';
import { argumentStrings } from './running.ts';
import type { CallItem, Item, Message, Note, ParkedItem, Story, StoryTurn } from './story.ts';
import type { FlatEvent } from './view.ts';

const WIDTH_MIN = 60;
const WIDTH_MAX = 160;
const PROMPT_LINES = 3;
const MESSAGE_LINES = 2;
const OUTPUT_LINES = 2;
const PARKED_LINES = 20;

/** `+12.345  mark text                right`, all text safe already. */
function row(page: Page, ns: string, mark: string, left: string, right = '', bad = false): string {
  const { paint: p, story, width } = page;
  const time = since(story.session.startedNs, ns).padStart(INDENT - 3);
  const painted = bad ? p.bad(right) : p.dim(right);
  return `${p.dim(time)} ${mark} ${sides(left, right, width - INDENT, painted)}`;
}

function approvalLine(page: Page, event: FlatEvent): string {
  const { paint: p, width } = page;
  const decision = event.decision ?? '';
  const refused = decision === 'denied' || decision === 'deny' || decision === 'cancelled';
  const about = event.net_host ?? event.net_ip ?? event.file_path ?? '';
  const port = event.net_port === undefined ? '' : `:${event.net_port}`;
  const words = [
    event.policy_type === undefined ? '' : `${event.policy_type} rule:`,
    decision,
    about === '' ? '' : `${about}${port}`,
    event.decided_by === undefined ? '' : `by ${event.decided_by}`,
    event.scope === undefined ? '' : `for ${event.scope}`,
    event.rule === undefined ? '' : `(rule ${event.rule})`,
    event.duration_ns === undefined ? '' : `after ${duration(event.duration_ns)}`,
    event.shown_sha256 === undefined ? '' : `shown sha256 ${event.shown_sha256.slice(0, 12)}…`,
    event.reason === undefined ? '' : `: ${event.reason}`,
  ].filter((text) => text !== '');
  const text = fitText(words.join(' ').replace(' :', ':'), width - INDENT - 2);
  return refused ? p.bad(`⊘ ${text}`) : p.good(`✓ ${text}`);
}

interface Status {
  readonly mark: string;
  readonly text: string;
  readonly bad: boolean;
}

function statusOf(page: Page, { call, approvals }: CallItem): Status {
  const { paint: p } = page;
  const took =
    call.durationNs ??
    (call.endedNs === undefined
      ? undefined
      : Number(BigInt(call.endedNs) - BigInt(call.startedNs)));
  const time = took === undefined ? '' : ` · ${duration(took)}`;
  const refused = approvals.at(-1)?.decision === 'denied' && call.exitCode === undefined;
  if (call.outcome === 'denied' || refused) return { mark: p.bad('⊘'), text: 'refused', bad: true };
  if (call.exitSignal !== undefined)
    return { mark: p.bad('✗'), text: `${escapeText(call.exitSignal)}${time}`, bad: true };
  if (call.exitCode !== undefined) {
    const { code, from, source } = call.exitCode;
    const by = from === 'kernel' ? '' : ` says ${fitText(source, 16)}`;
    const mark = code === 0 ? p.good('✓') : p.bad('✗');
    return { mark, text: `exit ${code}${by}${time}`, bad: code !== 0 };
  }
  if (call.outcome === 'success') return { mark: p.good('✓'), text: `ok${time}`, bad: false };
  if (call.outcome !== undefined && call.outcome !== 'unknown')
    return { mark: p.bad('✗'), text: `${escapeText(call.outcome)}${time}`, bad: true };
  return {
    mark: p.warn('?'),
    text: call.endedNs === undefined ? 'no end seen' : `ended${time}`,
    bad: true,
  };
}

/** What a call asks for: its command, or else the strings of its arguments. */
function askedOf({ call }: CallItem): string {
  if (call.command !== undefined) return call.command;
  return call.arguments === undefined ? '' : argumentStrings(call.arguments).join('  ');
}

function callLines(page: Page, item: CallItem): string[] {
  const { call, effects, approvals, decisions } = item;
  const { paint: p, width, verbose, story } = page;
  const status = statusOf(page, item);
  const tool = fitText(
    call.mcpServer === undefined
      ? (call.tool ?? 'tool')
      : `${call.mcpServer}/${call.tool ?? 'tool'}`,
    32,
  );
  const room = Math.max(12, width - INDENT - widthOf(tool) - widthOf(status.text) - 4);
  const asked = fitText(askedOf(item), room);
  const time = since(story.session.startedNs, call.startedNs).padStart(INDENT - 3);
  const left = `${tool}  ${asked}`;
  const right = status.bad ? p.bad(status.text) : p.dim(status.text);
  const gap = Math.max(1, width - INDENT - widthOf(left) - widthOf(status.text));
  const out = [`${p.dim(time)} ${status.mark} ${p.bold(tool)}  ${asked}${' '.repeat(gap)}${right}`];
  const under: string[] = [];
  if (verbose)
    under.push(
      p.dim(
        `${fitText(call.id, 48)} · ${call.channels.map((name) => fitText(name, 16)).join(', ')}`,
      ),
    );
  under.push(...[...approvals, ...decisions].map((event) => approvalLine(page, event)));
  for (const { field, kept, other } of call.contradictions)
    under.push(
      p.warn(
        fitText(
          `! ${field}: ${kept.source} says ${kept.value}, ${other.source} says ${other.value}`,
          width - INDENT,
        ),
      ),
    );
  const frame: Frame = {
    paint: p,
    columns: width - INDENT,
    cwd: call.cwd ?? story.session.cwd,
    verbose,
  };
  under.push(...effectLines(effects, frame));
  if (call.error !== undefined) under.push(p.bad(fitText(`error: ${call.error}`, width - INDENT)));
  const wanted = verbose ? VERBOSE_LINES : status.bad ? OUTPUT_LINES : 0;
  if (item.output !== undefined && wanted > 0)
    under.push(...block(item.output, width - INDENT - 2, wanted).map((line) => p.dim(`│ ${line}`)));
  return [...out, ...indent(under)];
}

function messageLines(page: Page, { ns, event }: Message): string[] {
  const { paint: p, width, verbose } = page;
  const said = event.text ?? event.prompt;
  if (said !== undefined) {
    const lines = block(said, width - INDENT, verbose ? VERBOSE_LINES : MESSAGE_LINES);
    const [first = '', ...rest] = lines;
    return [row(page, ns, p.hint('»'), first), ...indent(rest)];
  }
  if (event.error !== undefined || event.outcome === 'failure') {
    const status = event.http_status === undefined ? '' : ` (HTTP ${event.http_status})`;
    const text = `model request failed${status}: ${event.error ?? ''}`;
    return [row(page, ns, p.bad('✗'), p.bad(fitText(text, width - INDENT)))];
  }
  return verbose
    ? [row(page, ns, p.dim('·'), p.dim(fitText(summaryOf(event), width - INDENT)))]
    : [];
}

const summaryOf = (event: FlatEvent): string =>
  REGISTRY.get(event.kind)?.summary(event as unknown as Record<string, unknown>) ?? event.kind;

function noteLines(page: Page, { ns, event }: Note): string[] {
  const { paint: p, width } = page;
  if (event.gap_reason !== undefined) {
    const text = fitText(summaryOf(event), width - INDENT - 9);
    return [row(page, ns, p.bad('!'), `${p.alarm(' GAP ')} ${text}`)];
  }
  if (event.decision !== undefined) return [row(page, ns, ' ', approvalLine(page, event))];
  return [row(page, ns, p.hint('*'), fitText(summaryOf(event), width - INDENT))];
}

const faultOf = ({ reason, field, detail }: ParkedRun | DeadLetter): string =>
  `${reason}${field === '' ? '' : ` (${field})`}: ${detail}`;

function parkedLines(page: Page, { ns, run }: ParkedItem): string[] {
  const { paint: p, width } = page;
  const { first, last } = run;
  const numbers = first === last ? `event ${first}` : `events ${first} to ${last}`;
  const text = fitText(`${numbers}: ${faultOf(run)}`, width - INDENT - 12);
  return [row(page, ns, p.bad('!'), `${p.alarm(' PARKED ')} ${text}`)];
}

/** What was parked and has no place on the timeline. */
function parkedElsewhere(page: Page): string[] {
  const { story, paint: p, width } = page;
  if (story.parked.length === 0) return [];
  const lines = story.parked.slice(0, PARKED_LINES).map((letter) => {
    const what = letter.seq === undefined ? 'a frame' : `event ${letter.seq}`;
    return p.bad(fitText(`${what}: ${faultOf(letter)}`, width - INDENT));
  });
  const rest = story.parked.length - lines.length;
  if (rest > 0) lines.push(p.dim(`… and ${rest} more`));
  return ['', p.bold('parked, without a place'), ...indent(lines)];
}

function itemLines(page: Page, item: Item): string[] {
  if (item.type === 'call') return callLines(page, item);
  if (item.type === 'parked') return parkedLines(page, item);
  return item.type === 'message' ? messageLines(page, item) : noteLines(page, item);
}

function turnLines(page: Page, turn: StoryTurn, index: number): string[] {
  const { paint: p, width, verbose } = page;
  const took = duration(Number(BigInt(turn.turn.endedNs) - BigInt(turn.turn.startedNs)));
  const { inputTokens, outputTokens } = turn.usage;
  const facts = [
    took,
    count(turn.turn.callIds.length, 'call'),
    inputTokens + outputTokens === 0
      ? ''
      : `${groups(inputTokens)} tokens in, ${groups(outputTokens)} out`,
  ].filter((text) => text !== '');
  const title = `── turn ${index + 1} `;
  const right = ` ${facts.join(' · ')} ──`;
  const rule = '─'.repeat(Math.max(2, width - widthOf(title) - widthOf(right)));
  const prompt = turn.prompts.find((event) => event.prompt !== undefined) ?? turn.prompts[0];
  const bytes = prompt?.prompt_bytes;
  const said =
    prompt === undefined
      ? ['(no prompt was seen)']
      : prompt.prompt === undefined
        ? [`(the prompt was not kept${bytes === undefined ? '' : `: ${size(bytes)}`})`]
        : block(prompt.prompt, width - INDENT, verbose ? VERBOSE_LINES : PROMPT_LINES);
  const [first = '', ...rest] = said;
  return [
    '',
    `${p.bold(title)}${p.dim(rule + right)}`,
    row(page, prompt?.ts ?? turn.turn.startedNs, p.bold('▸'), p.bold(first)),
    ...indent(rest.map(p.bold)),
    ...turn.items.flatMap((item) => itemLines(page, item)),
  ];
}

function unattributed(page: Page): string[] {
  const { story, paint: p, width, verbose } = page;
  const { cwd } = story.session;
  const lines = effectLines(story.unattributed, {
    paint: p,
    columns: width - INDENT,
    cwd,
    verbose,
  });
  return lines.length === 0
    ? []
    : [
        '',
        `${p.bold('outside any tool call')}${p.dim(fitText('  the agent itself, and what nothing ties to a call', width - 21))}`,
        ...indent(lines),
      ];
}

/** The story as text. Ends with a newline; holds no control character of telemetry. */
export function printStory(story: Story, options: PrintOptions): string {
  const width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, Math.floor(options.width)));
  const page: Page = { ...options, width, paint: paint(options.color), story };
  const lines = [
    ...header(page),
    ...findings(page),
    ...(story.before.length === 0 ? [] : ['', page.paint.bold('before the first prompt')]),
    ...story.before.flatMap((item) => itemLines(page, item)),
    ...story.turns.flatMap((turn, index) => turnLines(page, turn, index)),
    ...unattributed(page),
    ...parkedElsewhere(page),
  ];
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}
