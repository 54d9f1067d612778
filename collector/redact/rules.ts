/**
 * What a secret looks like: the rules of gitleaks (`gitleaks.json`, facts of its configuration as
 * they stand there) and a few for what an event has and a file has not: flags, headers and URLs.
 * All expressions run by RE2, in time that grows with the length of the text only.
 */
import { readFileSync } from 'node:fs';
import { RE2JS } from 're2js';
import { createKeywords } from './keywords.ts';

interface Allowlist {
  readonly regexes?: readonly string[];
  readonly stopwords?: readonly string[];
  readonly regexTarget?: string;
  readonly paths?: readonly string[];
}

interface RuleFacts {
  readonly id: string;
  readonly regex: string;
  readonly keywords: readonly string[];
  readonly entropy?: number;
  readonly secretGroup?: number;
  readonly allowlists?: readonly Allowlist[];
}

/** A secret within a text, in UTF-16 units. */
export interface Finding {
  readonly rule: string;
  readonly start: number;
  readonly end: number;
}

export interface SecretRule {
  readonly id: string;
  readonly keywords: readonly string[];
  /** How far before and behind a keyword the expression must look. */
  readonly before: number;
  readonly behind: number;
  /** The secret begins with its keyword, at the start of a word. */
  readonly leads: boolean;
  /** Whether the expression matches between `start` and `end`: a tenth of the cost of `find`. */
  holds(text: string, start: number, end: number): boolean;
  /** The secrets in `text` from `start` to `end`. */
  find(text: string, start: number, end: number): Finding[];
}

const FILE = new URL('./gitleaks.json', import.meta.url);
/** gitleaks' form for `name = value`, the most frequent one; it can match no more than this. */
const ASSIGNED = '[ \\t\\w.-]{0,20}';
const ASSIGNED_UNITS = 360;
const OWN_UNITS = 512;
const TOKEN_UNITS = 2048;
const KEY_UNITS = 32_768;
/** A shorter group repeats a part of the secret; then the whole match is taken. */
const SECRET_UNITS_MIN = 6;

const NAMES = 'password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key';
/** Not gitleaks': these hold whatever the secret looks like, since the place says what it is. */
const OWN: readonly RuleFacts[] = [
  {
    id: 'url-password',
    regex: '://[^\\s/?#:@"\'<>]{0,256}:([^\\s/?#"\'<>]+)@',
    keywords: ['://'],
  },
  { id: 'url-token', regex: '://([^\\s/?#:@"\'<>]{20,})@', keywords: ['://'] },
  {
    id: 'url-parameter',
    regex: `(?i)[?&](?:[\\w-]{0,30}(?:${NAMES}|signature)|sig|key)=([^&\\s"'#]+)`,
    keywords: ['password=', 'passwd=', 'secret=', 'token=', 'key=', 'signature=', 'sig='],
  },
  {
    id: 'http-authorization',
    regex:
      '(?i)authorization["\']?\\s{0,4}[:=]\\s{0,4}["\']?' +
      '(?:(?:basic|bearer|token|apikey)\\s{1,4})?([^\\s"\',;]{4,})',
    keywords: ['authorization'],
  },
  {
    id: 'http-secret-header',
    regex:
      '(?i)(?:x-api-key|x-[a-z-]{0,24}token|private-token|api-key|cookie):' +
      '[ \\t]{0,4}([^\\r\\n"\']{4,})',
    keywords: ['api-key:', 'token:', 'cookie:'],
  },
  {
    id: 'flag-secret',
    regex: `(?i)(?:^|\\s)--?[\\w-]{0,40}(?:${NAMES})(?:=|\\s{1,4})(?:"([^"]+)"|'([^']+)'|([^\\s"';|&()<>-][^\\s"';|&()<>]*))`,
    keywords: ['password', 'passwd', 'passphrase', 'pwd', 'secret', 'token', 'key'],
  },
  {
    id: 'named-password',
    regex:
      '(?i)(?:passwords?|passwd|passphrase|client_?secret)\\\\{0,3}["\']?\\s{0,4}[:=]\\s{0,4}' +
      '\\\\{0,3}["\']([^"\'\\r\\n\\\\]{3,})',
    keywords: ['password', 'passwd', 'passphrase', 'client_secret', 'clientsecret'],
  },
  {
    // A key that was cut off before its end.
    id: 'private-key',
    regex:
      '(?i)-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----[\\sA-Za-z0-9+/=:,\\\\-]{16,}',
    keywords: ['private key'],
  },
];

/** Values that only stand for one: a variable, or a scheme that no secret follows. */
const OWN_ALLOWED: Allowlist = {
  regexes: ['^\\$\\{?[A-Za-z_]+\\}?$', '^`?(?i:bearer|basic|token|string)$'],
};

/** Shannon's entropy in bits a character, as gitleaks has it. */
export function entropyOf(text: string): number {
  const counts = new Map<string, number>();
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
  let entropy = 0;
  for (const count of counts.values())
    entropy -= (count / text.length) * Math.log2(count / text.length);
  return entropy;
}

type Allowed = (secret: string, match: string) => boolean;

function allowedBy(lists: readonly Allowlist[]): Allowed {
  // What a list says of a file's path or of a whole line has no meaning for a field.
  const usable = lists
    .filter((list) => list.paths === undefined && list.regexTarget !== 'line')
    .map((list) => ({
      onMatch: list.regexTarget === 'match',
      regexes: (list.regexes ?? []).map((regex) => RE2JS.compile(regex)),
      // Some 1,400 words: one pass over the secret instead of one a word.
      stopwords: createKeywords(list.stopwords ?? []),
    }));
  return (secret, match) =>
    usable.some(({ onMatch, regexes, stopwords }) => {
      const looked = onMatch ? match : secret;
      return regexes.some((regex) => regex.matcher(looked).find()) || stopwords.has(secret);
    });
}

/** A rule out of its facts; its expressions are compiled when they are first needed. */
function createRule(facts: RuleFacts, shared: readonly Allowlist[]): SecretRule {
  const isOwn = OWN.includes(facts);
  let compiled: { regex: RE2JS; allowed: Allowed } | undefined;
  const load = () => {
    compiled ??= {
      regex: RE2JS.compile(facts.regex),
      allowed: allowedBy([...shared, ...(facts.allowlists ?? [])]),
    };
    return compiled;
  };
  const isAssigned = facts.regex.includes(ASSIGNED);
  const isKey = facts.id === 'private-key';
  return {
    id: facts.id,
    keywords: facts.keywords,
    before: isKey ? 128 : isAssigned || isOwn ? 64 : 256,
    behind: isKey ? KEY_UNITS : isAssigned ? ASSIGNED_UNITS : isOwn ? OWN_UNITS : TOKEN_UNITS,
    leads: /^(\(\?i\))?\\b\(?ey/.test(facts.regex) || facts.id === 'twilio-api-key',
    holds: (text, start, end) => load().regex.test(text.slice(start, end)),
    find(text, start, end) {
      const { regex, allowed } = load();
      const matcher = regex.matcher(text.slice(start, end));
      const found: Finding[] = [];
      while (matcher.find()) {
        const groups = matcher.groupCount();
        let group = facts.secretGroup ?? 0;
        const unitsMin = isOwn ? 1 : SECRET_UNITS_MIN;
        for (let at = 1; group === 0 && at <= groups; at++)
          if ((matcher.group(at) ?? '').length >= unitsMin) group = at;
        const secret = matcher.group(group) ?? '';
        if (secret === '') continue;
        if (facts.entropy !== undefined && entropyOf(secret) <= facts.entropy) continue;
        if (allowed(secret, matcher.group(0) ?? '')) continue;
        const at = matcher.start(group) + start;
        found.push({ rule: facts.id, start: at, end: at + secret.length });
      }
      return found;
    },
  };
}

/** All rules that come with the product, own ones first: where two find one secret they name it. */
export function secretRules(): readonly SecretRule[] {
  const facts = JSON.parse(readFileSync(FILE, 'utf8')) as {
    allowlist: Allowlist;
    rules: readonly RuleFacts[];
  };
  return [
    ...OWN.map((rule) => createRule(rule, [OWN_ALLOWED])),
    ...facts.rules.map((rule) => createRule(rule, [facts.allowlist])),
  ];
}
