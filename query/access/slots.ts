/** So many at once of each: a count by key that forgets keys which hold nothing. */
export interface Slots {
  /** Takes one; gives back what lets it go, or undefined where all are taken. */
  take(key: string): (() => void) | undefined;
  readonly held: number;
}

export function createSlots(most: number): Slots {
  const taken = new Map<string, number>();
  return {
    take(key) {
      const held = taken.get(key) ?? 0;
      if (held >= most) return undefined;
      taken.set(key, held + 1);
      let kept = true;
      return () => {
        if (!kept) return;
        kept = false;
        const left = (taken.get(key) ?? 1) - 1;
        if (left === 0) taken.delete(key);
        else taken.set(key, left);
      };
    },
    get held() {
      return [...taken.values()].reduce((sum, one) => sum + one, 0);
    },
  };
}
