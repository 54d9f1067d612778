/**
 * Takes secrets out of drafts before they are numbered, so that none reaches the spool. In a
 * secret's place stands `[redacted:RULE:HASH]`, HASH the first 16 hex digits of its HMAC-SHA-256
 * under a key of the installation: equal secrets still join, and none can be guessed without the
 * key. What was changed stands in `altered` as `field:redacted:count`.
 */
import { createHmac } from 'node:crypto';
import { type Draft, kindSpec, words } from '#schemas';
import {
  atPaths,
  type Configured,
  createExpressions,
  NOTHING_CONFIGURED,
} from './redact/configured.ts';
import type { Finding } from './redact/rules.ts';
import { createScan } from './redact/scan.ts';

/** What is kept of prompts, answers, arguments and outputs: all, a keyed hash, or nothing. */
/** Attributes that hold content: what was shown to whoever approved a call. */
const BODY_ATTRS: ReadonlySet<string> = new Set(['shown']);

export const CONTENT_POLICIES = ['full', 'hash', 'none'] as const;
export type ContentPolicy = (typeof CONTENT_POLICIES)[number];

export interface RedactorDeps {
  readonly key: Buffer;
  readonly content: ContentPolicy;
  readonly configured?: Configured;
}

const HASH_HEX = 16;
/** The protocol's own: keys are public, and a changed time or kind would be no event. */
const UNTOUCHED = new Set(['kind', 'ts', 'source', 'assurance', 'public_key', 'schema_version']);
/** An argument that says: the next one, or the rest of this one, is a secret. */
const SECRET_FLAG =
  /^--?[\w-]{0,40}(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key)(?:$|=)/i;
/** Programs whose short flag says so. */
const SHORT_FLAGS: Readonly<Record<string, string>> = {
  curl: '-u',
  sshpass: '-p',
  docker: '-p',
  podman: '-p',
  smbclient: '-U',
  redis: '-a',
  'redis-cli': '-a',
};
/** Names of variables and attributes whose value is a secret whatever it looks like. */
const SECRET_NAME =
  /(?:password|passwd|passphrase|secret|[_-]token|^token|api_?key|access_?key|private_?key)$/i;
const MARKED = /^\[redacted:[a-z0-9-]{1,64}:[0-9a-f]{16}\]$/;

/** Makes the function that a session passes each draft through. */
export function createRedactor(deps: RedactorDeps): (draft: Draft) => Draft {
  const { key, content, configured = NOTHING_CONFIGURED } = deps;
  const expressions = createExpressions(configured.expressions);
  const scan = createScan((text) => [...expressions(text), ...atPaths(text, configured.paths)]);
  const wholeFields = new Set(configured.fields);
  let count = 0;

  const hashOf = (text: string) =>
    createHmac('sha256', key).update(text).digest('hex').slice(0, HASH_HEX);
  const mark = (rule: string, secret: string): string => {
    if (MARKED.test(secret) || secret === '') return secret;
    count++;
    return `[redacted:${rule}:${hashOf(secret)}]`;
  };

  function replace(text: string, found: readonly Finding[]): string {
    if (found.length === 0) return text;
    let out = '';
    let at = 0;
    for (const { rule, start, end } of found) {
      out += text.slice(at, start) + mark(rule, text.slice(start, end));
      at = end;
    }
    return out + text.slice(at);
  }

  const clean = (text: string): string => replace(text, scan(text));

  /** A value that is no text yet is made one only if it holds a secret. */
  function cleanValue(value: unknown): unknown {
    if (typeof value === 'string') return clean(value);
    if (typeof value !== 'object' || value === null) return value;
    const text = words(value);
    const cleaned = clean(text);
    return cleaned === text ? value : cleaned;
  }

  function cleanList(items: readonly unknown[]): readonly unknown[] {
    const program = String(items[0]).split('/').at(-1) ?? '';
    const short = Object.hasOwn(SHORT_FLAGS, program) ? SHORT_FLAGS[program] : undefined;
    const isLogin = !/^(?:docker|podman)$/.test(program) || items.includes('login');
    return items.map((item, index) => {
      const before = items[index - 1];
      if (typeof item !== 'string' || typeof before !== 'string') return cleanValue(item);
      const own = SECRET_FLAG.exec(item)?.[0];
      if (own?.endsWith('=')) return own + mark('flag-secret', item.slice(own.length));
      if (SECRET_FLAG.test(before) && !before.includes('=') && !item.startsWith('-'))
        return mark('flag-secret', item);
      if (before === short && isLogin) return mark('flag-secret', item);
      return clean(item);
    });
  }

  /** Scanned as `name=value`, the form that rules know. */
  function cleanEntry(name: string, value: unknown): unknown {
    if (typeof value !== 'string') return cleanValue(value);
    if (SECRET_NAME.test(name)) return mark('named-secret', value);
    const from = name.length + 1;
    const found = scan(`${name}=${value}`)
      .filter((one) => one.end > from)
      .map((one) => ({ ...one, start: Math.max(0, one.start - from), end: one.end - from }));
    return replace(value, found);
  }

  function cleanMap(field: string, value: object): unknown {
    const out: Record<string, unknown> = Object.create(null);
    for (const [name, item] of Object.entries(value))
      out[clean(name)] = wholeFields.has(`${field}.${name}`)
        ? mark('field', words(item))
        : cleanEntry(name, item);
    return { ...out };
  }

  function cleanField(name: string, value: unknown, shape: string): unknown {
    if (wholeFields.has(name)) {
      if (shape === 'map') return { redacted: mark('field', words(value)) };
      return Array.isArray(value)
        ? value.map((item) => mark('field', words(item)))
        : mark('field', words(value));
    }
    if (Array.isArray(value) && shape === 'list') return cleanList(value);
    if (typeof value === 'object' && value !== null && shape === 'map')
      return cleanMap(name, value);
    return cleanValue(value);
  }

  /** A long text under a policy that keeps none of it. */
  function withheld(text: string): string | undefined {
    if (content === 'none') return undefined;
    return `[content:${hashOf(text)}:${Buffer.byteLength(text)}]`;
  }

  /** Attributes without the long texts among them. */
  function withoutBodies(attrs: object, altered: string[]): object {
    const bodies = Object.entries(attrs).filter(([name]) => BODY_ATTRS.has(name));
    if (bodies.length === 0) return attrs;
    const out: Record<string, unknown> = { ...attrs };
    for (const [name, text] of bodies) {
      const left = withheld(words(text));
      if (left === undefined) delete out[name];
      else out[name] = left;
      altered.push(`attrs:withheld:${Buffer.byteLength(words(text))}`);
    }
    return out;
  }

  return (draft) => {
    const spec = kindSpec(draft.kind);
    const out: Record<string, unknown> = { ...draft };
    const altered: string[] = [];
    for (const [name, value] of Object.entries(draft)) {
      const field = spec.fields[name];
      if (UNTOUCHED.has(name) || value === undefined || value === null) continue;
      if (content !== 'full' && field?.body === true) {
        const text = words(value);
        out[name] = withheld(text);
        altered.push(`${name}:withheld:${Buffer.byteLength(text)}`);
        continue;
      }
      if (typeof value !== 'string' && typeof value !== 'object') continue;
      count = 0;
      const bodies = typeof value === 'object' && name === 'attrs' && content !== 'full';
      const kept = bodies ? withoutBodies(value, altered) : value;
      const cleaned = cleanField(name, kept, field?.shape ?? 'text');
      if (count === 0) {
        if (kept !== value) out[name] = kept;
        continue;
      }
      out[name] = cleaned;
      altered.push(`${name}:redacted:${count}`);
    }
    if (altered.length === 0) return draft;
    const before = out.altered;
    const stated = Array.isArray(before) ? before : before === undefined ? [] : [before];
    return { ...out, altered: [...stated, ...altered] } as unknown as Draft;
  };
}
