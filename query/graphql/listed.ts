/** Pages of lists that are in memory already: by the id of the item that they begin behind. */
import { badInput } from '../errors.ts';
import { PAGE_MAX, pageSize } from '../plan.ts';

/** A page of a list in memory: what stands behind the item that `after` names. */
export function pageBehind<T>(
  items: readonly T[],
  idOf: (item: T) => string,
  first: number | null | undefined,
  after: string | number | null | undefined,
): readonly T[] {
  const size = first === undefined || first === null ? PAGE_MAX : pageSize(first);
  const given = after !== undefined && after !== null;
  const from = given ? items.findIndex((item) => idOf(item) === String(after)) : -1;
  if (given && from < 0) throw badInput('after: nothing of this list has this id');
  return items.slice(from + 1, from + 1 + size);
}
