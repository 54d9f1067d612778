/** What an EQL query is once it is parsed: plain data, each node with the place where it stands. */

/** A place in the text of a query; both numbers count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Why a query is refused, and where. */
export interface EqlFault extends Position {
  readonly message: string;
}

/** A query, or why there is none: the parser and the compiler never throw on what they are given. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly fault: EqlFault };

export type Constant = string | number | boolean | null;

export interface LiteralNode {
  readonly node: 'literal';
  readonly value: Constant;
  /** `4.0` is a float and divides as one, although JavaScript knows no difference to `4`. */
  readonly float: boolean;
  readonly at: Position;
}
export interface FieldNode {
  readonly node: 'field';
  readonly name: string;
  /** Written with `?`: a field that does not exist is null instead of an error. */
  readonly optional: boolean;
  readonly at: Position;
}
export interface CallNode {
  readonly node: 'call';
  readonly name: string;
  readonly insensitive: boolean;
  readonly args: readonly Expression[];
  readonly at: Position;
}
export interface SignNode {
  readonly node: 'sign';
  readonly operator: '+' | '-';
  readonly term: Expression;
  readonly at: Position;
}
export type ArithmeticOperator = '+' | '-' | '*' | '/' | '%';
export interface ArithmeticNode {
  readonly node: 'arithmetic';
  readonly operator: ArithmeticOperator;
  readonly left: Expression;
  readonly right: Expression;
  readonly at: Position;
}
export type ComparisonOperator = '==' | '!=' | '<' | '<=' | '>' | '>=';
export interface ComparisonNode {
  readonly node: 'comparison';
  readonly operator: ComparisonOperator;
  readonly left: Expression;
  readonly right: Expression;
  readonly at: Position;
}
/** `value : "a*"`, `value like ("a*", "b?")`, `value regex~ "a.*"`. */
export interface PatternNode {
  readonly node: 'pattern';
  readonly operator: ':' | 'like' | 'regex';
  readonly insensitive: boolean;
  readonly value: Expression;
  readonly patterns: readonly { readonly text: string; readonly at: Position }[];
  readonly at: Position;
}
export interface InNode {
  readonly node: 'in';
  readonly insensitive: boolean;
  readonly negated: boolean;
  readonly value: Expression;
  readonly list: readonly Expression[];
  readonly at: Position;
}
export interface NotNode {
  readonly node: 'not';
  readonly term: Expression;
  readonly at: Position;
}
/** `and` and `or` take any number of terms, so that a long chain is not a deep tree. */
export interface LogicNode {
  readonly node: 'and' | 'or';
  readonly terms: readonly Expression[];
  readonly at: Position;
}

export type Expression =
  | LiteralNode
  | FieldNode
  | CallNode
  | SignNode
  | ArithmeticNode
  | ComparisonNode
  | PatternNode
  | InNode
  | NotNode
  | LogicNode;

/** `category where condition`; the category `any` is undefined. */
export interface EventFilter {
  readonly category: string | undefined;
  readonly condition: Expression;
  readonly at: Position;
}

/** One step of a sequence, or one filter of a sample. */
export interface Step {
  readonly filter: EventFilter;
  /** Its own join fields, after those of the whole sequence. */
  readonly by: readonly FieldNode[];
  /** How many events in a row it takes: `with runs=n`. */
  readonly runs: number;
  /** `![ ]`: the step holds as long as no such event comes. */
  readonly missing: boolean;
  readonly at: Position;
}

export interface EventQuery {
  readonly kind: 'event';
  readonly filter: EventFilter;
}
export interface SequenceQuery {
  readonly kind: 'sequence';
  readonly by: readonly FieldNode[];
  /** Longest time from the first event to the last, inclusive, in nanoseconds. */
  readonly maxspanNs: bigint | undefined;
  readonly steps: readonly Step[];
  readonly until: Step | undefined;
  readonly at: Position;
}
export interface SampleQuery {
  readonly kind: 'sample';
  readonly by: readonly FieldNode[];
  readonly filters: readonly Step[];
  readonly at: Position;
}

export interface Pipe {
  readonly name: 'head' | 'tail';
  readonly count: number;
  readonly at: Position;
}

export interface EqlQuery {
  readonly body: EventQuery | SequenceQuery | SampleQuery;
  readonly pipes: readonly Pipe[];
}
