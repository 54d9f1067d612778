/** What is to be erased, and what that means for one event. Pure. */
import {
  ALL_FIELDS,
  commitmentOf,
  type Field,
  parseEventId,
  REGISTRY,
  SALT_BYTES,
  type TelltaleEvent,
} from '#schemas';

/** A request to erase content of one session. */
export interface ErasureRequest {
  readonly tenant: string;
  readonly session: string;
  /** Event ids; absent: the whole session. */
  readonly events?: readonly string[];
  /** Content fields; absent: all of an event's content. */
  readonly fields?: readonly string[];
  readonly actor: string;
  readonly reason: string;
}

/** A request that can't be meant; says what is wrong with it. */
export class ErasureError extends Error {
  override readonly name = 'ErasureError';
}

const isContent = (name: string): boolean => ALL_FIELDS[name]?.content === true;
/** All content fields, in the order of the table. */
export const CONTENT_FIELDS: readonly string[] = Object.keys(ALL_FIELDS).filter(isContent);

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const WORDS_CHARACTERS_MAX = 4096;

function checkWords(what: string, text: string): void {
  if (text.trim() === '' || text.length > WORDS_CHARACTERS_MAX || !text.isWellFormed())
    throw new ErasureError(`${what}: give 1 to ${WORDS_CHARACTERS_MAX} characters`);
}

/** Throws `ErasureError` where a request names what there can't be. */
export function checkRequest(request: ErasureRequest): void {
  if (!UUID.test(request.session))
    throw new ErasureError(`${JSON.stringify(request.session)} is no session id`);
  for (const id of request.events ?? [])
    if (parseEventId(id) === undefined)
      throw new ErasureError(`${JSON.stringify(id)} is no event id: give STREAM-NUMBER`);
  for (const name of request.fields ?? [])
    if (!isContent(name))
      throw new ErasureError(
        `${JSON.stringify(name)} is no content field; these are: ${CONTENT_FIELDS.join(', ')}`,
      );
  checkWords('who erases', request.actor);
  checkWords('the reason', request.reason);
}

/** What a row becomes. */
export interface ErasedRow {
  readonly stream_id: string;
  readonly seq: number;
  /** Fields that lose their value now. */
  readonly names: readonly string[];
  /** All commitments that the row holds from now on, by field. */
  readonly erased: Readonly<Record<string, string>>;
  /** The row's salt from now on: none where no content is left that it would be needed for. */
  readonly salt: string;
}

const SALT = new RegExp(`^[0-9a-f]{${2 * SALT_BYTES}}$`);
/** Of a row whose salt was tampered with no chain is right any more, and erasing must work still. */
const NO_SALT = '00'.repeat(SALT_BYTES);

/** What erasing makes of an event; undefined where it has none of that content. */
export function erasedRow(
  event: TelltaleEvent,
  fields: readonly string[] | undefined,
): ErasedRow | undefined {
  const spec = REGISTRY.get(event.kind);
  if (spec === undefined) return undefined;
  const loose = event as unknown as Readonly<Record<string, unknown>>;
  const before = event.erased ?? {};
  const there = spec.content.filter(
    (name) => loose[name] !== undefined && !Object.hasOwn(before, name),
  );
  const names = there.filter((name) => fields?.includes(name) ?? true);
  if (names.length === 0) return undefined;
  const salt = SALT.test(event.content_salt ?? '') ? (event.content_salt as string) : NO_SALT;
  const commitments = names.map((name) => [
    name,
    commitmentOf(salt, name, spec.fields[name] as Field, loose[name]),
  ]);
  return {
    stream_id: event.stream_id,
    seq: event.seq,
    names,
    erased: { ...before, ...Object.fromEntries(commitments) },
    salt: names.length === there.length ? '' : (event.content_salt ?? ''),
  };
}
