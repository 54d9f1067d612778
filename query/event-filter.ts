/** What a timeline, an export or a live view is narrowed to -> conditions on rows of events. */
import { ALL_FIELDS, ASSURANCES, REGISTRY } from '#schemas';
import { isUuid } from './cursor.ts';
import { badInput } from './errors.ts';
import { checked, equals, FILTER_ENTRIES_MAX, field, has, TIME64 } from './plan.ts';
import { type Condition, condition, containing } from './sql.ts';

const TEXTS = Object.keys(ALL_FIELDS).filter((name) => field(name).shape === 'text');

/** Decisions of approvals and of policy rules, put together by what they came to. */
export const VERDICTS: Readonly<Record<string, readonly string[]>> = {
  allow: ['allow', 'approved'],
  deny: ['deny', 'denied'],
  ask: ['ask', 'asked'],
  cancelled: ['cancelled'],
};

/** What a timeline may be narrowed to; all that is given must hold. */
export interface EventFilter {
  readonly kinds?: readonly string[] | null | undefined;
  readonly toolCallId?: string | null | undefined;
  readonly turnId?: string | null | undefined;
  readonly streamId?: string | null | undefined;
  /** A process with all its descendants, see `process-scope.ts`. */
  readonly processOf?: string | null | undefined;
  readonly pid?: number | null | undefined;
  /** Found in a command, argv, prompt, message, argument or output, without regard to case. */
  readonly text?: string | null | undefined;
  /** A path, or what it begins with when it ends in "/". */
  readonly path?: string | null | undefined;
  readonly host?: string | null | undefined;
  /** What was decided of a request: words of `VERDICTS`. */
  readonly verdicts?: readonly string[] | null | undefined;
  /** How good the evidence is. */
  readonly assurances?: readonly string[] | null | undefined;
  readonly from?: string | null | undefined;
  readonly before?: string | null | undefined;
}

function kindsOf(kinds: readonly string[]): Condition {
  if (kinds.length > FILTER_ENTRIES_MAX)
    throw badInput(`kinds: at most ${FILTER_ENTRIES_MAX} entries`);
  for (const kind of kinds)
    if (!REGISTRY.has(kind)) throw badInput(`kinds: no such kind: ${checked('kinds', kind)}`);
  return condition('has({kinds:Array(String)}, toString(kind))', { kinds });
}

function pathCondition(path: string): Condition {
  const params = { path: checked('path', path) };
  return path.endsWith('/')
    ? condition(
        'startsWith(file_path, {path:String}) OR startsWith(file_target_path, {path:String})',
        params,
      )
    : condition('file_path = {path:String} OR file_target_path = {path:String}', params);
}

function textCondition(text: string): Condition {
  const columns = [...TEXTS.filter((name) => field(name).body || name === 'command'), 'argv_line'];
  return condition(columns.map((name) => `${name} ILIKE {text:String}`).join(' OR '), {
    text: containing(checked('text', text)),
  });
}

/** The rows of one stream. Throws `QueryError` for what is no UUID. */
export function streamCondition(id: string): Condition {
  if (!isUuid(id)) throw badInput('streamId: not a UUID');
  return condition('stream_id = {stream:UUID}', { stream: id });
}

/** Words of a closed list. */
function oneOf(
  name: string,
  values: readonly string[],
  known: readonly string[],
): readonly string[] {
  if (values.length > FILTER_ENTRIES_MAX)
    throw badInput(`${name}: at most ${FILTER_ENTRIES_MAX} entries`);
  if (values.some((value) => !known.includes(value)))
    throw badInput(`${name}: they are ${known.join(', ')}`);
  return values;
}

function verdictCondition(verdicts: readonly string[]): Condition {
  const decisions = oneOf('verdicts', verdicts, Object.keys(VERDICTS)).flatMap(
    (verdict) => VERDICTS[verdict] ?? [],
  );
  return condition('has({decisions:Array(String)}, toString(decision))', { decisions });
}

const assuranceCondition = (assurances: readonly string[]): Condition =>
  condition('has({assurances:Array(String)}, toString(assurance))', {
    assurances: oneOf('assurances', assurances, ASSURANCES),
  });

/** The conditions of a timeline's filter. Throws `QueryError` for a filter that can't be meant. */
export function eventConditions(filter: EventFilter): (Condition | undefined)[] {
  return [
    has(filter.kinds) ? kindsOf(filter.kinds) : undefined,
    equals('tool_call_id', 'call', filter.toolCallId),
    equals('turn_id', 'turn', filter.turnId),
    has(filter.streamId) ? streamCondition(filter.streamId) : undefined,
    has(filter.text) ? textCondition(filter.text) : undefined,
    has(filter.path) ? pathCondition(filter.path) : undefined,
    has(filter.host)
      ? condition('net_host = {host:String} OR net_ip = {host:String}', {
          host: checked('host', filter.host),
        })
      : undefined,
    has(filter.verdicts) ? verdictCondition(filter.verdicts) : undefined,
    has(filter.assurances) ? assuranceCondition(filter.assurances) : undefined,
    has(filter.from) ? condition(`ts >= {since:${TIME64}}`, { since: filter.from }) : undefined,
    has(filter.before) ? condition(`ts < {until:${TIME64}}`, { until: filter.before }) : undefined,
  ];
}
