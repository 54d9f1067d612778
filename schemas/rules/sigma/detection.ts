/**
 * Search identifiers: maps (all fields have to match), lists of maps and of keywords (one has to),
 * and what a key's modifiers make of its values.
 */
import type { Entry, MapNode, Node, ScalarNode, Warning } from '../document.ts';
import { type Place, quoted, refuse } from '../faults.ts';
import { and, type Expression, not, or } from './expression.ts';
import { fieldLeaf, keywordLeaf } from './leaf.ts';
import { applyModifiers, checkModifier } from './modifiers.ts';
import { type Placeholders, textValue, type Value } from './value.ts';

export interface DetectionContext {
  readonly placeholders: Placeholders;
  /** Takes what is not as it should be but changes nothing of what matches. */
  readonly warn: (warning: Warning) => void;
}

function sigmaValue(node: ScalarNode): Value {
  const { place, value, source } = node;
  if (value === null) return { type: 'null', place };
  if (typeof value === 'string') return textValue(value, place);
  if (typeof value === 'boolean') return { type: 'flag', place, flag: value };
  return { type: 'number', place, number: value, source };
}

function scalars(node: Node, what: string): readonly ScalarNode[] {
  if (node.type === 'scalar') return [node];
  if (node.type === 'map')
    return refuse(
      'shape',
      node.place,
      `the values of ${what} are texts, numbers, or a list of them`,
    );
  if (node.items.length === 0)
    return refuse('shape', node.place, `the list of ${what} is empty: it can’t match anything`);
  return node.items.map((item) =>
    item.type === 'scalar'
      ? item
      : refuse('shape', item.place, `the list of ${what} has a list or map in it`),
  );
}

/** Wherever the modifiers of regular expressions stand, they have to follow `re`. */
function namesOf(key: string, place: Place): { field: string; modifiers: readonly string[] } {
  const [field = '', ...modifiers] = key.split('|');
  for (const name of modifiers) checkModifier(name, place);
  if (new Set(modifiers).size < modifiers.length)
    refuse('modifier', place, `${quoted(key)} names a modifier twice`);
  return { field, modifiers };
}

const KEYWORD_MODIFIERS_NOT = new Set(['startswith', 'endswith', 'exists', 'fieldref', 'cidr']);

function item(key: string, place: Place, node: Node, context: DetectionContext): Expression {
  const { field, modifiers } = namesOf(key, place);
  const what = field === '' ? 'keywords' : quoted(field);
  const nodes = scalars(node, what);
  if (field === '')
    for (const name of modifiers)
      if (KEYWORD_MODIFIERS_NOT.has(name))
        refuse('modifier', place, `${name} needs a field: keywords are looked for anywhere`);
  if (nodes.length > 1 && nodes.some((one) => one.value === null))
    refuse(
      'value',
      place,
      `null can’t be one of several values of ${what} (give it a search identifier of its own)`,
    );
  const all = modifiers.includes('all');
  if (all && nodes.length === 1)
    context.warn({
      ...place,
      code: 'modifier',
      reason: 'all is for lists: a single value has no use for it',
    });
  const tests = nodes.map((one) => {
    // A regular expression is a text whatever it looks like: 0755 is four characters.
    const plain = modifiers[0] === 're' ? textValue(one.source, one.place) : sigmaValue(one);
    const value = applyModifiers(plain, modifiers, context.placeholders);
    return field === '' ? keywordLeaf(value, one.place) : fieldLeaf(field, value);
  });
  const linked = all ? and(tests) : or(tests);
  return modifiers.includes('neq') ? not(linked) : linked;
}

const fieldItem = ({ key, place, value }: Entry, context: DetectionContext): Expression =>
  item(key, place, value, context);

function fromMap(map: MapNode, context: DetectionContext): Expression {
  if (map.entries.length === 0) return refuse('shape', map.place, 'an empty map matches nothing');
  return and(map.entries.map((entry) => fieldItem(entry, context)));
}

/** Compiles one search identifier. */
export function compileDetection(node: Node, context: DetectionContext): Expression {
  if (node.type === 'map') return fromMap(node, context);
  if (node.type === 'scalar') {
    if (node.value === null) return refuse('shape', node.place, 'a search identifier is empty');
    return item('', node.place, node, context);
  }
  if (node.items.length === 0) return refuse('shape', node.place, 'an empty list matches nothing');
  return or(node.items.map((one) => compileDetection(one, context)));
}
