/**
 * The egress policy: what it says, and what it decides. Pure.
 *
 *     name: agents
 *     default: deny                    # or allow; what no rule speaks of
 *     allow:
 *       - registry.npmjs.org:443       # a host, with its port or for all ports
 *       - '*.github.com'               # names below it, not itself; '*' is any name
 *       - { id: mirror, to: 10.1.0.0/16, ports: [443, '8000-8999'] }
 *     deny:
 *       - gist.github.com
 *
 * `deny` outranks `allow`, in whatever order they stand. A name needs a rule that allows the name;
 * its addresses are then held to the rules of addresses, so that a name can't be pointed at what is
 * denied. Addresses of special purpose (private, loopback, metadata of clouds) are denied unless
 * an `allow` rule of addresses holds them: that a name is allowed does not open them.
 */
import { isIP } from 'node:net';
import { addressOf, type Cidr, hostOf, readCidr, specialPurpose } from './addresses.ts';

export interface Rule {
  /** As the events name it: its id, or the list it stands in and its text. */
  readonly id: string;
  readonly matchesName?: (name: string) => boolean;
  readonly cidr?: Cidr;
  /** From and to, both included; none: all ports. */
  readonly ports: readonly (readonly [number, number])[];
}

export interface Policy {
  readonly name: string;
  /** SHA-256 of the file, so that it is known what was in force. */
  readonly version: string;
  readonly default: 'allow' | 'deny';
  readonly allow: readonly Rule[];
  readonly deny: readonly Rule[];
}

export interface Verdict {
  readonly decision: 'allow' | 'deny';
  readonly rule: string;
  readonly reason: string;
}

export interface Target {
  /** As `hostOf` gives it. */
  readonly host: string;
  readonly port: number;
}

const RULES_MAX = 10_000;
const PORT_MAX = 65_535;
const ID = /^[A-Za-z0-9._-]{1,64}$/;

/** What is said to have decided where no rule does. */
export const DEFAULT_RULE = 'default';

/** The faults of a policy file, all of them, each with its place. */
export class PolicyError extends Error {
  readonly faults: readonly string[];
  constructor(faults: readonly string[]) {
    super(faults.join('; '));
    this.name = 'PolicyError';
    this.faults = faults;
  }
}

function portsOf(value: unknown): readonly (readonly [number, number])[] | undefined {
  const list = value === undefined ? [] : Array.isArray(value) ? value : [value];
  const ports: [number, number][] = [];
  for (const item of list) {
    const [, from, to = from] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(String(item)) ?? [];
    const range: [number, number] = [Number(from), Number(to)];
    if (!(range[0] >= 1 && range[1] >= range[0] && range[1] <= PORT_MAX)) return undefined;
    ports.push(range);
  }
  return ports;
}

/** `host`, `host:port`, `[v6]:port`, a CIDR: the destination and the text behind its colon. */
function splitPort(text: string): [to: string, port: string | undefined] {
  const [, bracketed, port] = /^\[([^\]]+)\](?::(.*))?$/.exec(text) ?? [];
  if (bracketed !== undefined) return [bracketed, port];
  const at = text.indexOf(':');
  return at < 0 || text.indexOf(':', at + 1) >= 0
    ? [text, undefined]
    : [text.slice(0, at), text.slice(at + 1)];
}

function destinationOf(to: string): Pick<Rule, 'matchesName' | 'cidr'> | undefined {
  if (to === '*') return { matchesName: () => true };
  const cidr = readCidr(to);
  if (cidr !== undefined) return { cidr };
  const below = to.startsWith('*.');
  const host = hostOf(below ? to.slice(2) : to);
  if (host === undefined || isIP(host) !== 0) return undefined;
  const ending = `.${host}`;
  return { matchesName: below ? (name) => name.endsWith(ending) : (name) => name === host };
}

function readRule(value: unknown, where: string, list: string): Rule | string {
  const entry = (typeof value === 'string' ? { to: value } : value) as Record<string, unknown>;
  if (typeof entry !== 'object' || entry === null || typeof entry.to !== 'string')
    return `${where}: give "host:port" or {id, to, ports}`;
  const { id, to, ports, ...others } = entry;
  const [other] = Object.keys(others);
  if (other !== undefined) return `${where}: ${JSON.stringify(other)} is not known`;
  if (id !== undefined && (typeof id !== 'string' || !ID.test(id)))
    return `${where}: id: letters, digits, ".", "_" and "-", at most 64`;
  const [name, port] = splitPort(to as string);
  const destination = destinationOf(name);
  if (destination === undefined)
    return `${where}: ${JSON.stringify(name)} is no host, "*.suffix", address or CIDR`;
  if (port !== undefined && ports !== undefined) return `${where}: the port is given twice`;
  const ranges = portsOf(port ?? ports);
  if (ranges === undefined) return `${where}: ports: 1 to ${PORT_MAX}, or ranges such as "80-90"`;
  return { id: (id as string | undefined) ?? `${list} ${to}`, ports: ranges, ...destination };
}

function readRules(value: unknown, list: 'allow' | 'deny', faults: string[]): Rule[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > RULES_MAX) {
    faults.push(`${list}: give a list of at most ${RULES_MAX} rules`);
    return [];
  }
  const rules: Rule[] = [];
  for (const [index, item] of value.entries()) {
    const rule = readRule(item, `${list}[${index}]`, list);
    if (typeof rule === 'string') faults.push(rule);
    else rules.push(rule);
  }
  return rules;
}

/**
 * Reads a policy out of parsed YAML; `version` is the hash of the file's bytes. Throws PolicyError
 * with all faults: a policy that is half understood is none.
 */
export function readPolicy(value: unknown, version: string): Policy {
  const faults: string[] = [];
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PolicyError(['give name, default, allow and deny']);
  const {
    name = 'egress',
    default: otherwise,
    allow,
    deny,
    ...others
  } = value as {
    readonly [part: string]: unknown;
  };
  for (const part of Object.keys(others)) faults.push(`${JSON.stringify(part)} is not known`);
  if (typeof name !== 'string' || !ID.test(name))
    faults.push('name: letters, digits, ".", "_" and "-", at most 64');
  if (otherwise !== 'allow' && otherwise !== 'deny') faults.push('default: allow or deny');
  const rules = {
    allow: readRules(allow, 'allow', faults),
    deny: readRules(deny, 'deny', faults),
  };
  if (faults.length > 0) throw new PolicyError(faults);
  return { name: name as string, version, default: otherwise as 'allow' | 'deny', ...rules };
}

/** Without a port the question is whether some port is open; a rule of one port denies none. */
const covers = ({ ports }: Rule, port: number | undefined, list: 'allow' | 'deny') =>
  ports.length === 0 ||
  (port === undefined ? list === 'allow' : ports.some(([from, to]) => port >= from && port <= to));

const allowed = ({ id }: Rule): Verdict => ({ decision: 'allow', rule: id, reason: 'allowed' });
const denied = ({ id }: Rule): Verdict => ({ decision: 'deny', rule: id, reason: 'denied' });
const byDefault = (policy: Policy): Verdict => ({
  decision: policy.default,
  rule: DEFAULT_RULE,
  reason: policy.default === 'deny' ? 'no rule allows it' : 'no rule denies it',
});

/** The first rule of a list that speaks of it. */
function firstOf(
  policy: Policy,
  list: 'allow' | 'deny',
  port: number | undefined,
  matches: (rule: Rule) => boolean,
): Rule | undefined {
  return policy[list].find((rule) => matches(rule) && covers(rule, port, list));
}

/** What the rules say of a name, for a port or for any; its addresses are to be asked as well. */
export function decideName(policy: Policy, host: string, port?: number): Verdict {
  const matches = (rule: Rule) => rule.matchesName?.(host) === true;
  const no = firstOf(policy, 'deny', port, matches);
  if (no !== undefined) return denied(no);
  const yes = firstOf(policy, 'allow', port, matches);
  return yes === undefined ? byDefault(policy) : allowed(yes);
}

/**
 * What the rules of addresses say of one. `name` is the verdict on the name that led there; without
 * it the address itself was asked for.
 */
export function decideAddress(
  policy: Policy,
  ip: string,
  port: number | undefined,
  name?: Verdict,
): Verdict {
  const matches = (rule: Rule) => rule.cidr?.contains(ip) === true;
  const no = firstOf(policy, 'deny', port, matches);
  if (no !== undefined) return denied(no);
  const yes = firstOf(policy, 'allow', port, matches);
  if (yes !== undefined) return name ?? allowed(yes);
  const special = specialPurpose(ip);
  if (special !== undefined) {
    const reason = `special-purpose address ${special}: only a rule of addresses opens it`;
    return { decision: 'deny', rule: 'special-purpose', reason };
  }
  return name ?? byDefault(policy);
}

export interface Decided extends Verdict {
  /** Where a connection may go: the addresses that were allowed, and no other. */
  readonly addresses: readonly string[];
}

/** Looks a name up; rejects where it has no address. */
export type Resolve = (name: string) => Promise<readonly string[]>;

/** The verdict on a name by the addresses that it leads to: those that are open, or why none is. */
export function decideAddresses(
  policy: Policy,
  { host, port }: { readonly host: string; readonly port?: number },
  name: Verdict,
  addresses: readonly string[],
): Decided {
  const verdicts = addresses.map((ip) => [ip, decideAddress(policy, ip, port, name)] as const);
  const open = verdicts.filter(([, verdict]) => verdict.decision === 'allow');
  const [first] = verdicts;
  if (open.length > 0 || first === undefined) return { ...name, addresses: open.map(([ip]) => ip) };
  const reason = `${host} leads to ${first[0]}: ${first[1].reason}`;
  return { ...first[1], reason, addresses: [first[0]] };
}

/**
 * Decides on a target. A name that is denied is not looked up: a question carries data as well.
 * Of the addresses of a name only those that are allowed may be used; where none is, it is denied.
 * Without `resolve` somebody else looks the name up, and its addresses stay unknown. Rejects with
 * what `resolve` rejects with, and where a name has no address.
 */
export async function decide(
  policy: Policy,
  target: Target,
  resolve: Resolve | undefined,
): Promise<Decided> {
  const { host, port } = target;
  if (isIP(host) !== 0) return { ...decideAddress(policy, host, port), addresses: [host] };
  const name = decideName(policy, host, port);
  if (name.decision === 'deny' || resolve === undefined) return { ...name, addresses: [] };
  const addresses = (await resolve(host)).map(addressOf);
  if (addresses.length === 0) throw new Error('it has no address');
  return decideAddresses(policy, target, name, addresses);
}
