/** An event without its content: commitments stand for the values, so that every proof holds. */
import { commitmentOf, kindSpec, type TelltaleEvent } from '#schemas';

/** Stands where a value has no salt to be committed to: no chain can have covered it. */
const NO_COMMITMENT = '0'.repeat(64);

/** The event with commitments in place of its content, and the fields that were there. */
export function withhold(event: TelltaleEvent): {
  readonly event: TelltaleEvent;
  readonly withheld: readonly string[];
} {
  const spec = kindSpec(event.kind);
  const loose = event as unknown as Readonly<Record<string, unknown>>;
  const before: Readonly<Record<string, string>> = event.erased ?? {};
  const withheld = spec.content.filter(
    (name) => loose[name] !== undefined && !Object.hasOwn(before, name),
  );
  if (withheld.length === 0) return { event, withheld };
  const { content_salt: salt, ...bare } = loose;
  const erased: Record<string, string> = { ...before };
  for (const name of withheld) {
    const field = spec.fields[name];
    const known = typeof salt === 'string' && field !== undefined;
    erased[name] = known ? commitmentOf(salt, name, field, loose[name]) : NO_COMMITMENT;
    delete (bare as Record<string, unknown>)[name];
  }
  return { event: { ...bare, erased } as unknown as TelltaleEvent, withheld };
}

/** The event as one may see it who may not see content: its fields of content are not there. */
export function withoutContent(event: TelltaleEvent): TelltaleEvent {
  const content = new Set(kindSpec(event.kind).content);
  return Object.fromEntries(
    Object.entries(event).filter(([name]) => !content.has(name)),
  ) as unknown as TelltaleEvent;
}
