import { describe, expect, it } from 'vitest';
import { accountFor, digestOf, eventId, factsOf, type TelltaleEvent, verifyChain } from '#schemas';
import { assess } from '../../../query/timeline/assess.ts';
import { printTriage } from '../../../query/timeline/print-triage.ts';
import { buildStory, type SessionData } from '../../../query/timeline/story.ts';
import { buildTriage, shownIn, TRIAGE_MAX } from '../../../query/timeline/triage.ts';
import { stampStream } from '../seed.ts';
import { callOf, createEvents, STREAM, sessionOf } from './events.ts';
import { realisticSession } from './realistic.ts';

const triageOf = (data: SessionData, focus: readonly string[] = []) => {
  const made = assess(data.events, data.streams);
  return buildTriage(data, made, buildStory(data, made), focus);
};
const print = (events: readonly TelltaleEvent[], width = 100) =>
  printTriage(triageOf(sessionOf(events)), { width, color: false, verbose: false });

/** A stamped session, with the verdicts that its bytes truly give. */
function stamped(): SessionData {
  const events = stampStream().map(({ event }) => event);
  const first = events[0] as TelltaleEvent;
  const completeness = accountFor(factsOf(events));
  const integrity = verifyChain(first, events);
  return sessionOf(events, { streams: [{ streamId: first.stream_id, completeness, integrity }] });
}

describe('the triage packet', () => {
  it('has each fact with its place in the chain, as anybody can compute it again', () => {
    const data = stamped();
    const close = data.events.at(-1) as TelltaleEvent;
    const { request, calls } = triageOf(data);
    const facts = [...request, ...calls.flatMap(({ said, results }) => [...said, ...results])];
    expect(facts.length).toBeGreaterThan(3);
    for (const { event, proof } of facts)
      expect(proof).toEqual({
        streamId: event.stream_id,
        seq: event.seq,
        digest: digestOf(event as unknown as TelltaleEvent),
        status: 'proved',
        checkpoint: expect.objectContaining({ eventId: eventId(close), seq: close.seq }),
        sealable: expect.objectContaining({ streamId: event.stream_id, seq: event.seq }),
      });
  });

  it('says of a fact whether it is proved, changed, unproved or not covered yet', () => {
    const data = stamped();
    const { events } = data;
    const [stream] = data.streams;
    if (stream?.integrity === undefined) throw new Error('no stream');
    const { integrity } = stream;
    const statusWith = (more: object, list = events) =>
      triageOf({
        ...data,
        events: list,
        streams: [{ ...stream, integrity: { ...integrity, ...more } }],
      }).request[0]?.proof.status;
    expect(statusWith({})).toBe('proved');
    expect(statusWith({ covered: 0 })).toBe('unproved');
    expect(statusWith({ covered: 0 }, events.slice(0, -1))).toBe('uncovered');
    const fault = { seq: 9, kind: 'changed', what: 'x', range: [1, 4] };
    expect(statusWith({ faults: [fault] })).toBe('changed');
    const { integrity: _unverified, ...bare } = stream;
    expect(triageOf({ ...data, streams: [bare] }).request[0]?.proof.status).toBe('unchecked');
  });

  it('puts what an alert is about first of all, and counts what it leaves out', () => {
    const e = createEvents(STREAM, false);
    const events = [
      e.say(1, { kind: 'prompt', prompt: 'the request' }),
      ...Array.from({ length: 100 }, (_, n) =>
        callOf(e, `c${n}`, 10 + n * 10, 15 + n * 10, { command: `step ${n}` }),
      ).flat(),
      e.run(993, 7, 1, ['sh', '-c', 'step 98'], { tool_call_id: 'c98', attribution: 'env_key' }),
    ];
    const plain = triageOf(sessionOf(events));
    expect(plain.calls).toHaveLength(TRIAGE_MAX.calls);
    expect(plain.calls.map(({ item }) => item.call.id)).not.toContain('c98');
    expect(plain.leftOut).toContainEqual({ what: 'calls', count: 100 - TRIAGE_MAX.calls });
    const focused = triageOf(sessionOf(events), [eventId(events.at(-1) as TelltaleEvent)]);
    expect(focused.calls.filter(({ focus }) => focus).map(({ item }) => item.call.id)).toEqual([
      'c98',
    ]);
    expect(focused.focus).toHaveLength(1);
    expect(focused.request[0]?.event.prompt).toBe('the request');
  });

  it('is bounded, however large the session', () => {
    const e = createEvents(STREAM, false);
    const events = Array.from({ length: 3_000 }, (_, n) => [
      ...callOf(e, `c${n}`, n, n + 1, { command: `c ${n}` }, { outcome: 'denied' }),
      e.run(n, 10 + n, 1, ['sh', '-c', `c ${n}`], {
        tool_call_id: `c${n}`,
        attribution: 'env_key',
      }),
      e.say(n, {
        kind: 'policy.decision',
        decision: 'deny',
        policy_type: 'network',
        net_host: `h${n}`,
      }),
      e.make(n, 'collector', { kind: 'gap', gap_reason: 'other', gap_count: 1 }),
    ]).flat();
    const triage = triageOf(sessionOf(events));
    const most =
      TRIAGE_MAX.prompts +
      TRIAGE_MAX.calls * 5 * TRIAGE_MAX.factsOfCall +
      TRIAGE_MAX.networkDecisions +
      TRIAGE_MAX.findings * TRIAGE_MAX.evidenceOfFinding;
    expect(shownIn(triage).size).toBeLessThanOrEqual(most);
    expect(triage.findings).toHaveLength(TRIAGE_MAX.findings);
    expect(triage.network).toHaveLength(TRIAGE_MAX.destinations);
    const left = new Map(triage.leftOut.map(({ what, count }) => [what, count]));
    expect(left.get('destinations')).toBe(3_000 - TRIAGE_MAX.destinations);
    expect(left.get('network decisions')).toBe(3_000 - TRIAGE_MAX.networkDecisions);
  });

  it('reads well, keeps within its columns, and lets no control character through', () => {
    expect(print(realisticSession())).toMatchSnapshot();
    for (const width of [60, 100, 160])
      for (const line of print(realisticSession(), width).split('\n'))
        expect([...line].length, line).toBeLessThanOrEqual(width);
    const e = createEvents(STREAM, false);
    const evil = '\u001b[2J\u202e\u0007';
    const text = print([
      e.say(1, { kind: 'prompt', prompt: evil }),
      ...callOf(e, `c${evil}`, 2, 9, { tool: evil, command: evil }, { error: evil }),
      e.say(3, { kind: 'approval', tool_call_id: `c${evil}`, decision: 'denied', command: evil }),
      e.see(4, { kind: 'net', pid: 5, net_op: 'connect', net_host: `h${evil}` }),
    ]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f\u202e]/);
  });
});
