/**
 * Why a rule was refused, as a value: which file, where in it, and what is wrong. Inside a compiler
 * a fault travels as a `Refusal`; `outcome` turns it into a value at the compiler's edge, so that
 * one bad rule never takes its neighbours along.
 */

/** A place in a rule file; line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What kind of fault it is; a closed list, so that refusals can be counted. */
export const FAULT_CODES = [
  'yaml',
  'limit',
  'shape',
  'field',
  'modifier',
  'value',
  'regex',
  'placeholder',
  'condition',
  'obsolete',
  'reference',
  'query',
] as const;
export type FaultCode = (typeof FAULT_CODES)[number];

export interface Fault extends Place {
  readonly code: FaultCode;
  /** What is wrong, in words for the rule's author. */
  readonly reason: string;
}

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly fault: Fault };

/** A fault on its way to the edge of a compiler. */
export class Refusal extends Error {
  readonly fault: Fault;
  constructor(fault: Fault) {
    super(faultText(fault));
    this.name = 'Refusal';
    this.fault = fault;
  }
}

/** Refuses the rule that is being compiled. */
export function refuse(code: FaultCode, place: Place, reason: string): never {
  const { file, line, column } = place;
  throw new Refusal({ code, file, line, column, reason });
}

/** Runs a compiler; what it refuses comes back as a value, any other error is a bug and passes. */
export function outcome<T>(compile: () => T): Outcome<T> {
  try {
    return { ok: true, value: compile() };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, fault: error.fault };
    throw error;
  }
}

/** A fault as one line: `file:line:column: reason`, as compilers write it. */
export function faultText({ file, line, column, reason }: Fault): string {
  return `${file}:${line}:${column}: ${reason}`;
}

/** A text of a rule inside a reason: quoted, and cut where it is long. */
export function quoted(text: string): string {
  const CHARS_MAX = 80;
  return JSON.stringify(text.length > CHARS_MAX ? `${text.slice(0, CHARS_MAX)}…` : text);
}
