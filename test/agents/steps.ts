/** Scripted sessions as steps: what the model asks for in each, and what must come of it. */
import type { Answer, Part, Script } from './model/server.ts';
import type { Scripted } from './script.ts';

export interface Step {
  readonly parts: readonly Part[];
  readonly calls: readonly Scripted[];
}

/** One call. `more.id` is what the agent makes of the id, where that is another. */
export function step(id: string, name: string, input: object, more: Partial<Scripted> = {}): Step {
  return {
    parts: [{ type: 'call', id, name, input }],
    calls: [{ id, tool: name, outcome: 'success', ...more }],
  };
}

/** A shell command; `exitCode` absent: it is refused, and never run. */
export const shell = (
  tool: string,
  id: string,
  command: string,
  exitCode?: number,
  more: Partial<Scripted> = {},
): Step =>
  step(
    id,
    tool,
    { command, description: 'Scripted' },
    {
      command,
      outcome: exitCode === 0 ? 'success' : exitCode === undefined ? 'denied' : 'failure',
      ...(exitCode === undefined ? {} : { exitCode }),
      ...more,
    },
  );

/** Several steps as one: their calls run at the same time. */
export const together = (...steps: readonly Step[]): Step => ({
  parts: steps.flatMap(({ parts }) => parts),
  calls: steps.flatMap(({ calls }) => calls),
});

export const say = (...texts: readonly string[]): Step => ({
  parts: texts.map((text) => ({ type: 'text', text })),
  calls: [],
});

export const think = (text: string): Step => ({ parts: [{ type: 'thinking', text }], calls: [] });

/** The calls that steps hold, whatever the words of the model's interface. */
export const callsOf = (steps: readonly Pick<Step, 'calls'>[]): readonly Scripted[] =>
  steps.flatMap(({ calls }) => calls);

/** What a sub-agent is asked, and does. */
export interface Sub {
  readonly task: string;
  readonly step: Step;
}

export interface Play {
  readonly steps: readonly Step[];
  /** A tool that only the agent's own requests offer; others are asked on the side. */
  readonly tool: string;
  /** Words of the prompt. */
  readonly prompt: string;
  readonly sub?: Sub;
  /** The HTTP status that the first request gets, before it is tried again. */
  readonly failFirst?: number;
}

export const SECOND = 'Second turn: summarise.';

/** Plays the steps: each request gets the one after the results that it carries. */
export function play({ steps, tool, prompt, sub, failFirst }: Play): Script {
  let failed = failFirst === undefined;
  const before = [0];
  for (const { calls } of steps) before.push((before.at(-1) ?? 0) + calls.length);
  return ({ results, text, tools }): Answer => {
    if (!tools.includes(tool)) return [{ type: 'text', text: 'side answer' }];
    if (text.includes(SECOND)) return [{ type: 'text', text: 'Second answer.' }];
    if (sub !== undefined && text.includes(sub.task) && !text.includes(prompt))
      return results === 0 ? sub.step.parts : [{ type: 'text', text: 'Subagent result: fine.' }];
    if (!failed) {
      failed = true;
      return { status: failFirst ?? 500 };
    }
    const at = before.findLastIndex((calls) => calls <= results);
    return steps[Math.min(at, steps.length - 1)]?.parts ?? [];
  };
}
