/** A function call, checked and compiled. */
import type { FieldView, Scalar } from '../values.ts';
import type { CallNode } from './ast.ts';
import { EqlError } from './cursor.ts';
import {
  ARGUMENTS_MAX,
  type Body,
  type EqlFunction,
  FUNCTIONS,
  OTHER_FUNCTIONS,
  type Parameter,
} from './functions.ts';
import {
  anyOf,
  constantOf,
  fits,
  isNumeric,
  type Operand,
  type Result,
  typeName,
  type ValueType,
} from './operand.ts';

function lookUp(call: CallNode): EqlFunction {
  const { name, insensitive, at } = call;
  const found = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (found === undefined) {
    const instead = Object.hasOwn(OTHER_FUNCTIONS, name) ? OTHER_FUNCTIONS[name] : undefined;
    if (instead !== undefined) {
      throw new EqlError(at, `Elasticsearch EQL has no function ${name}: ${instead}`);
    }
    const close = Object.keys(FUNCTIONS).find((key) => key.toLowerCase() === name.toLowerCase());
    const hint = close === undefined ? '' : `; did you mean ${close}?`;
    throw new EqlError(at, `unknown function ${name}${hint}`);
  }
  if (insensitive && !found.cased) {
    throw new EqlError(at, `${name} has no case-insensitive form ${name}~`);
  }
  return found;
}

function checkCount(call: CallNode, spec: EqlFunction): void {
  const most = spec.variadic ? ARGUMENTS_MAX : spec.parameters.length;
  const least = spec.parameters.length - (spec.optional ?? 0);
  const count = call.args.length;
  if (count >= least && count <= most) return;
  const wanted = least === most ? `${least}` : `${least} to ${most}`;
  throw new EqlError(call.at, `${call.name} takes ${wanted} arguments, here are ${count}`);
}

const parameterAt = (spec: EqlFunction, place: number): Parameter =>
  spec.parameters[Math.min(place, spec.parameters.length - 1)] as Parameter;

function checkArguments(call: CallNode, spec: EqlFunction, args: readonly Operand[]): void {
  let lists = 0;
  args.forEach((arg, place) => {
    const at = call.args[place]?.at ?? call.at;
    const wanted = parameterAt(spec, place);
    if (wanted !== 'value' && !fits(arg.type, wanted)) {
      const found = typeName(arg.type);
      throw new EqlError(at, `argument ${place + 1} of ${call.name} is a ${wanted}, not ${found}`);
    }
    if (spec.constant?.(place) && !arg.constant) {
      throw new EqlError(at, `argument ${place + 1} of ${call.name} has to be a constant`);
    }
    lists += arg.list ? 1 : 0;
    if (lists > 1) throw new EqlError(at, `${call.name} takes at most one field that is a list`);
  });
}

const JAVASCRIPT: Readonly<Record<Parameter, string | undefined>> = {
  string: 'string',
  number: 'number',
  boolean: 'boolean',
  value: undefined,
};

/** Works out the arguments, then the body; one list among them gives a list of results. */
function createRun(spec: EqlFunction, args: readonly Operand[], body: Body): Operand['run'] {
  const kinds = args.map((_arg, place) => JAVASCRIPT[parameterAt(spec, place)]);
  const nullable = args.map((_arg, place) => spec.nullable?.(place) ?? false);
  const apply = (values: readonly Scalar[]): Scalar => {
    for (let place = 0; place < values.length; place += 1) {
      const value = values[place];
      if (value === null || value === undefined) {
        if (!nullable[place]) return null;
      } else if (kinds[place] !== undefined && typeof value !== kinds[place]) {
        return null;
      }
    }
    return body(values);
  };
  return (fields: FieldView): Result => {
    const values = args.map((arg) => arg.run(fields));
    const list = values.findIndex((value) => Array.isArray(value));
    if (list < 0) return apply(values as Scalar[]);
    const entries = values[list] as readonly Scalar[];
    const results = entries.map((entry) => {
      const one = values.map((value, place) => {
        if (place === list) return entry;
        return Array.isArray(value) ? null : (value as Scalar);
      });
      return apply(one);
    });
    if (results.length === 0) return null;
    if (spec.returns !== 'boolean') return results;
    return anyOf(results, (held) => held as boolean | null);
  };
}

function resultType(spec: EqlFunction, args: readonly Operand[]): ValueType {
  if (spec.returns !== 'number') return spec.returns;
  const types = args.map((arg) => arg.type);
  if (types.includes('float')) return 'float';
  // number("4.5") is only known when it comes; arithmetic on integers stays one.
  return types.every(isNumeric) ? 'integer' : 'any';
}

/** Compiles a call whose arguments are compiled already; throws `EqlError`. */
export function compileCall(call: CallNode, args: readonly Operand[]): Operand {
  const spec = lookUp(call);
  checkCount(call, spec);
  checkArguments(call, spec, args);
  const constants = args.map((arg) => (arg.constant ? constantOf(arg) : undefined));
  const types = args.map((arg) => arg.type);
  const body = spec.body(constants, call.insensitive, types);
  if (typeof body === 'string') throw new EqlError(call.at, body);
  return {
    type: resultType(spec, args),
    list: spec.returns !== 'boolean' && args.some((arg) => arg.list),
    constant: args.every((arg) => arg.constant),
    run: createRun(spec, args, body),
  };
}
