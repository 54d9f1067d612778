/**
 * Attribution over generated sessions with known truth: calls one after the other, in parallel and
 * with the same command; tied by a key, a trace, their text or their paths; helpers of the agent
 * and strangers between them.
 */
import { describe, expect, it } from 'vitest';
import { eventId, type TelltaleEvent } from '#schemas';
import { analyse } from '../../../query/timeline/analyse.ts';
import { createDice, type Dice } from './approvals/pairs.ts';
import { createEvents } from './events.ts';
import { createScore, scoreLine } from './scores.ts';

const CWD = '/srv/app';
const SESSIONS = 60;
const PRECISION_MIN = 0.97;
const RECALL_MIN = 0.97;
const AGENT = 100;
const TRACE = 'ab'.repeat(16);

interface Truth {
  readonly events: TelltaleEvent[];
  /** The call of each effect, by its event's id; '' for none. */
  readonly of: Map<string, string>;
}

const COMMANDS = ['make all', 'npm test', 'git commit -m "a b"', 'ls -la', './run.sh --fast'];

function session(dice: Dice): Truth {
  const make = createEvents(undefined, false);
  const events: TelltaleEvent[] = [];
  const of = new Map<string, string>();
  const put = (event: TelltaleEvent, call?: string) => {
    events.push(event);
    if (call !== undefined) of.set(eventId(event), call);
  };
  put(
    make.make(0, 'collector', {
      kind: 'session.open',
      schema_version: '1',
      command_args: ['agent'],
      cwd: CWD,
    }),
  );
  put(make.run(2, AGENT, 50, ['agent'], { cwd: CWD }), '');
  let pid = 200;
  const call = (n: number, ms: number, endMs: number, fields: object) => {
    const id = `c${n}`;
    const span = { trace_id: TRACE, span_id: String(n).padStart(16, '0') };
    put(make.say(ms + dice.upTo(9), { kind: 'tool.call', tool_call_id: id, ...span, ...fields }));
    put(make.say(endMs, { kind: 'tool.result', tool_call_id: id, outcome: 'success' }));
    return id;
  };
  /** A program with children and effects, all of one call. */
  const tree = (ms: number, argv: string[], id: string, more: object) => {
    const root = ++pid;
    put(make.run(ms, root, AGENT, argv, { cwd: CWD, ...more }), id);
    for (let k = 0; k < 1 + dice.upTo(3); k++) {
      const child = ++pid;
      put(make.run(ms + 2 + k, child, root, ['tool', `${k}`], { cwd: CWD }), id);
      put(
        make.see(ms + 3 + k, {
          kind: 'file',
          pid: child,
          file_op: 'write',
          file_path: `/w/${child}`,
        }),
        id,
      );
      put(
        make.see(ms + 3 + k, {
          kind: 'net',
          pid: child,
          net_op: 'connect',
          net_ip: '192.0.2.1',
          net_port: 80,
        }),
        id,
      );
      put(make.end(ms + 6 + k, child, 0), id);
    }
    put(make.end(ms + 20, root, 0), id);
  };
  for (let n = 0, ms = 100; n < 12; n++, ms += 400) {
    const command = dice.pick(COMMANDS);
    const parallel = dice.upTo(3) === 0;
    const from = parallel ? ms - 390 : ms;
    const id = call(n, from, from + 200, { command, cwd: CWD });
    const way = dice.upTo(4);
    const key = { tool_call_id: id, attribution: 'env_key', attribution_confidence_pct: 100 };
    const trace = { join_keys: { TRACEPARENT: `00-${TRACE}-${String(n).padStart(16, '0')}-01` } };
    if (way === 0) tree(from + 20 + n, ['bash', '-lc', command], id, key);
    else if (way === 1) tree(from + 20 + n, ['bash', '-lc', command], id, trace);
    else if (way === 2 && !parallel) tree(from + 20, ['bash', '-lc', command], id, {});
    else {
      const file = `${CWD}/src/${n}.ts`;
      const writer = call(n + 100, ms + 250, ms + 300, {
        tool: 'Write',
        arguments: JSON.stringify({ file_path: file }),
        cwd: CWD,
      });
      put(
        make.see(ms + 275, { kind: 'file', pid: AGENT, file_op: 'write', file_path: file }),
        writer,
      );
    }
    // What the agent does for itself, while no call runs.
    put(make.run(ms + 350, ++pid, AGENT, ['git', 'rev-parse', `${n}`], { cwd: CWD }), '');
    put(make.end(ms + 355, pid, 0), '');
    put(
      make.see(ms + 360, {
        kind: 'net',
        pid: AGENT,
        net_op: 'connect',
        net_ip: '127.0.0.1',
        net_port: 4000,
      }),
      '',
    );
  }
  return { events, of };
}

describe('attribution over generated sessions', () => {
  it('is right, and finds what there is', () => {
    const dice = createDice(11);
    const score = createScore();
    let effects = 0;
    for (let n = 0; n < SESSIONS; n++) {
      const { events, of } = session(dice);
      const { attribution } = analyse(events);
      for (const [id, truth] of of) {
        effects++;
        const found = attribution.get(id)?.toolCallId;
        score.take(
          `${n} ${id.slice(-4)} is of ${truth || 'none'}`,
          truth === '' ? [] : [truth],
          found === undefined ? [] : [found],
        );
      }
    }
    const result = score.result();
    console.info(
      scoreLine(`attribution, ${effects} effects of ${SESSIONS} sessions`, {
        ...result,
        faults: result.faults.slice(0, 10),
      }),
    );
    expect(result.precision).toBeGreaterThanOrEqual(PRECISION_MIN);
    expect(result.recall).toBeGreaterThanOrEqual(RECALL_MIN);
  });

  it('prefers a call that ran at the very time to one that had just ended', () => {
    const make = createEvents();
    const named = { arguments: '{"path":"/w/app.py"}' };
    const written = make.see(130, {
      kind: 'file',
      pid: AGENT,
      file_op: 'write',
      file_path: '/w/app.py',
    });
    const events = [
      make.say(80, { kind: 'tool.call', tool_call_id: 'read', ...named }),
      make.say(100, { kind: 'tool.result', tool_call_id: 'read', outcome: 'success' }),
      make.say(120, { kind: 'tool.call', tool_call_id: 'replace', ...named }),
      make.say(160, { kind: 'tool.result', tool_call_id: 'replace', outcome: 'success' }),
      written,
    ];
    expect(analyse(events).attribution.get(eventId(written))).toMatchObject({
      toolCallId: 'replace',
      confidencePct: 85,
    });
  });
});
