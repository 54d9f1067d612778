interface Lock {
  readonly packages: Readonly<Record<string, { readonly license?: string; readonly dev?: boolean }>>;
}
export function isAllowed(expression: string, allowed: ReadonlySet<string>): boolean;
export function licenceFaults(lock: Lock): readonly string[];
export function readLock(file: string): Lock;
