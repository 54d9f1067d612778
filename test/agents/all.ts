/** The four agents, each with its scripted session and its calls at the same time. */
import * as claude from './claude.ts';
import * as codex from './codex.ts';
import * as gemini from './gemini.ts';
import type { AgentName } from './install.ts';
import * as opencode from './opencode.ts';
import type { Scripted } from './script.ts';
import type { Agent, Place } from './session.ts';
import { callsOf } from './steps.ts';

export interface Scenes {
  readonly name: AgentName;
  /** One call of every shape. */
  readonly scripted: (command: string) => Agent;
  readonly calls: (place: Place) => readonly Scripted[];
  /** Calls at the same time. */
  readonly parallel: (command: string) => Agent;
  readonly parallelCalls: readonly Scripted[];
}

export const ALL: readonly Scenes[] = [
  {
    name: 'codex',
    scripted: codex.codexAgent,
    calls: (place) => callsOf(codex.stepsOf(place)),
    parallel: codex.parallel,
    parallelCalls: callsOf(codex.parallelSteps),
  },
  {
    name: 'claude',
    scripted: claude.bypassing,
    calls: (place) => [...callsOf(claude.bypassSteps(place)), ...claude.SUB_CALLS],
    parallel: claude.parallel,
    parallelCalls: callsOf(claude.parallelSteps),
  },
  {
    name: 'gemini',
    scripted: gemini.yolo,
    calls: (place) => callsOf(gemini.yoloSteps(place)),
    parallel: gemini.parallel,
    parallelCalls: callsOf(gemini.parallelSteps),
  },
  {
    name: 'opencode',
    scripted: opencode.auto,
    calls: (place) => [...callsOf(opencode.autoSteps(place)), ...opencode.SUB_CALLS],
    parallel: opencode.parallel,
    parallelCalls: callsOf(opencode.parallelSteps),
  },
];
