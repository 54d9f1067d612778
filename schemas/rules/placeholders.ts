/** What the placeholders of Sigma's `expand` stand for: a YAML map, name -> value or values. */
import { readDocuments, textsOf } from './document.ts';
import { type Outcome, outcome, refuse } from './faults.ts';
import type { Placeholders } from './sigma/value.ts';

/** Reads a placeholder file such as `{JumpServers: [jump-*, bastion]}`; names without `%`. */
export function readPlaceholders(text: string, file: string): Outcome<Placeholders> {
  const [document, ...more] = readDocuments(text, file);
  if (document === undefined) return { ok: true, value: new Map() };
  if (!document.ok) return document;
  return outcome(() => {
    if (more.length > 0)
      refuse('shape', document.value.place, 'one document holds all placeholders');
    return new Map(document.value.entries.map((entry) => [entry.key, textsOf(entry)]));
  });
}
