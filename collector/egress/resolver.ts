/**
 * The stub resolver: answers questions of names under the policy, over UDP and TCP (RFC 1035), and
 * asks an upstream for what is allowed. It reads names and addresses; everything else of an answer
 * is handed on as it is. A refused name is NXDOMAIN, with the extended error Blocked (RFC 8914).
 */
import dgram from 'node:dgram';
import net from 'node:net';
import { type DecodedPacket, decode, encode, type Packet } from 'dns-packet';
import type { Clock } from '#schemas';
import { addressOf, hostOf } from './addresses.ts';
import { type Decided, decideAddresses, decideName, type Policy, type Verdict } from './policy.ts';

export interface Upstream {
  readonly ip: string;
  readonly port: number;
}

export interface Answered {
  readonly name: string;
  readonly type: string;
  readonly verdict: Verdict;
  readonly answers: readonly string[];
  /** As RFC 1035 names them: NOERROR, NXDOMAIN, SERVFAIL … */
  readonly rcode: string;
  readonly beganNs: bigint;
  readonly client: { readonly ip: string; readonly port: number; readonly tcp: boolean };
}

export interface ResolverDeps {
  readonly policy: Policy;
  readonly clock: Clock;
  readonly listen: Upstream;
  readonly upstream: readonly Upstream[];
  readonly answered: (facts: Answered) => void;
  readonly down: (reason: string) => void;
}

export interface Resolver {
  /** Resolves with the port, which differs from the wished one where that was 0. */
  start(): Promise<number>;
  stop(): Promise<void>;
}

/** Questions at once; what is more is answered SERVFAIL, as is what takes longer. */
const QUESTIONS_MAX = 256;
const UPSTREAM_MS_MAX = 4000;
const CLIENTS_MAX = 128;
const CLIENT_MS_MAX = 10_000;
const MESSAGE_BYTES_MAX = 65_535;
const HEADER_BYTES = 12;
const RCODES = { FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3 } as const;
const RCODE_NAMES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];
/** "Extended DNS Error" and its code for what an operator's policy blocks. */
const EDE_OPTION = 15;
const EDE_BLOCKED = Buffer.from([0, 15]);

/** A reply of our own to a question, without answers. */
function replyTo(query: DecodedPacket, rcode: keyof typeof RCODES): Buffer {
  const extended = query.additionals?.some(({ type }) => type === 'OPT') ?? false;
  const blocked = rcode === 'NXDOMAIN' && extended;
  const packet = {
    type: 'response',
    id: query.id,
    flags: (query.flag_rd ? 0x0100 : 0) | 0x0080 | RCODES[rcode],
    questions: query.questions ?? [],
    ...(blocked ? { additionals: [optOf(EDE_BLOCKED)] } : {}),
  };
  return encode(packet as Packet);
}

const optOf = (data: Buffer) => ({
  type: 'OPT' as const,
  name: '.',
  udpPayloadSize: 1232,
  flags: 0,
  extendedRcode: 0,
  ednsVersion: 0,
  options: [{ code: EDE_OPTION, data }],
});

/** One message to an upstream and its answer; rejects when none comes in time. */
function ask({ ip, port }: Upstream, message: Buffer, tcp: boolean): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => reject(new Error(`upstream ${ip} port ${port}: ${reason}`));
    const timer = setTimeout(() => end(() => fail('no answer in time')), UPSTREAM_MS_MAX);
    const isAnswer = (reply: Buffer) =>
      reply.length >= HEADER_BYTES && reply.readUInt16BE(0) === message.readUInt16BE(0);
    let close = () => {};
    const end = (settle: () => void) => {
      clearTimeout(timer);
      close();
      settle();
    };
    if (tcp) {
      const socket = net.connect(port, ip, () => socket.write(framed(message)));
      close = () => socket.destroy();
      const read = frames((reply) => end(() => (isAnswer(reply) ? resolve(reply) : fail('junk'))));
      socket.on('data', read);
      socket.on('error', (error) => end(() => fail(error.message)));
      socket.on('end', () => end(() => fail('closed')));
      return;
    }
    const socket = dgram.createSocket(net.isIPv6(ip) ? 'udp6' : 'udp4');
    close = () => socket.close();
    socket.on('error', (error) => end(() => fail(error.message)));
    // Connected, so that the kernel takes answers of this upstream only.
    socket.connect(port, ip, () => socket.send(message));
    socket.on('message', (reply) => {
      if (isAnswer(reply)) end(() => resolve(reply));
    });
  });
}

/** A message over TCP has its length in front. */
function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Takes bytes and gives whole messages. */
function frames(take: (message: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      take(Buffer.from(rest.subarray(2, end)));
      rest = rest.subarray(end);
    }
  };
}

/** The addresses that a reply leads to; hints within HTTPS records are not read. */
function addressesIn(reply: DecodedPacket): string[] {
  const records = [...(reply.answers ?? []), ...(reply.additionals ?? [])];
  return records.flatMap((record) =>
    (record.type === 'A' || record.type === 'AAAA') && net.isIP(record.data) !== 0
      ? [addressOf(record.data)]
      : [],
  );
}

const rcodeOf = (reply: Buffer) => {
  const code = (reply[3] ?? 0) & 0x0f;
  return RCODE_NAMES[code] ?? `RCODE${code}`;
};

export function createResolver(deps: ResolverDeps): Resolver {
  const { policy, clock, listen, upstream, answered } = deps;
  let open = 0;
  let stopping = false;

  async function forward(message: Buffer, tcp: boolean): Promise<Buffer> {
    let why: unknown = new Error('no upstream is known');
    for (const one of upstream)
      try {
        return await ask(one, message, tcp);
      } catch (error) {
        why = error;
      }
    throw why;
  }
  async function lookUp(message: Buffer, host: string, name: Verdict, tcp: boolean) {
    const reply = await forward(message, tcp);
    const addresses = addressesIn(decode(reply));
    const decided: Decided = decideAddresses(policy, { host }, name, addresses);
    // One denied address beside open ones: a client may take any, so none is handed out.
    const all = decided.decision === 'allow' && decided.addresses.length === addresses.length;
    if (all) return { reply, verdict: decided, addresses };
    const denied = decideAddresses(
      policy,
      { host },
      name,
      addresses.filter((ip) => !decided.addresses.includes(ip) || decided.decision === 'deny'),
    );
    return { reply: undefined, verdict: denied, addresses };
  }
  /** The reply to a message; undefined where it deserves none. */
  async function replyOf(message: Buffer, client: Answered['client']): Promise<Buffer | undefined> {
    const beganNs = clock.monotonicNs();
    if (message.length < HEADER_BYTES || ((message[2] ?? 0) & 0x80) !== 0) return undefined;
    let query: DecodedPacket;
    try {
      query = decode(message);
    } catch {
      return undefined;
    }
    const [question] = query.questions ?? [];
    const opcode = ((message[2] ?? 0) >> 3) & 0x0f;
    if (question === undefined || query.questions?.length !== 1 || opcode !== 0)
      return replyTo(query, 'FORMERR');
    const host = hostOf(question.name);
    const name: Verdict =
      host === undefined
        ? { decision: 'deny', rule: 'malformed', reason: 'it is no host name' }
        : decideName(policy, host);
    const facts = { name: host ?? question.name, type: question.type, beganNs, client };
    const refuse = (verdict: Verdict, answers: readonly string[]) => {
      answered({ ...facts, verdict, answers, rcode: 'NXDOMAIN' });
      return replyTo(query, 'NXDOMAIN');
    };
    if (host === undefined || name.decision === 'deny') return refuse(name, []);
    try {
      const { reply, verdict, addresses } = await lookUp(message, host, name, client.tcp);
      if (reply === undefined) return refuse(verdict, addresses);
      answered({ ...facts, verdict, answers: addresses, rcode: rcodeOf(reply) });
      return reply;
    } catch {
      answered({ ...facts, verdict: name, answers: [], rcode: 'SERVFAIL' });
      return replyTo(query, 'SERVFAIL');
    }
  }
  async function serve(message: Buffer, client: Answered['client']): Promise<Buffer | undefined> {
    if (open >= QUESTIONS_MAX) {
      try {
        return replyTo(decode(message), 'SERVFAIL');
      } catch {
        return undefined;
      }
    }
    open++;
    return replyOf(message, client)
      .catch(() => undefined)
      .finally(() => open--);
  }

  const udp = dgram.createSocket(net.isIPv6(listen.ip) ? 'udp6' : 'udp4');
  udp.on('message', async (message, { address, port }) => {
    const reply = await serve(message, { ip: address, port, tcp: false });
    if (reply !== undefined && !stopping) udp.send(reply, port, address, () => {});
  });
  const tcp = net.createServer((socket) => {
    const client = { ip: socket.remoteAddress ?? '', port: socket.remotePort ?? 0, tcp: true };
    socket.setTimeout(CLIENT_MS_MAX, () => socket.destroy());
    socket.on('error', () => {});
    const read = frames(async (message) => {
      const reply = await serve(message, client);
      if (reply !== undefined && reply.length <= MESSAGE_BYTES_MAX) socket.write(framed(reply));
    });
    socket.on('data', read);
  });
  tcp.maxConnections = CLIENTS_MAX;
  const clients = new Set<net.Socket>();
  tcp.on('connection', (socket) => {
    clients.add(socket);
    socket.once('close', () => clients.delete(socket));
  });
  const lost = (error: Error) => {
    if (!stopping) deps.down(error.message);
  };

  return {
    async start() {
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject);
        udp.bind(listen.port, listen.ip, resolve);
      });
      const { port } = udp.address();
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject);
        tcp.listen(port, listen.ip, resolve);
      });
      udp.removeAllListeners('error').on('error', lost);
      tcp.removeAllListeners('error').on('error', lost);
      return port;
    },
    async stop() {
      if (stopping) return;
      stopping = true;
      for (const socket of clients) socket.destroy();
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
    },
  };
}
