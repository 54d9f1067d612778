/** An egress proxy of a test: names that lead where they are told to, and what was told. */
import { execFile } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import type { Draft, DraftOf } from '#schemas';
import { createEgress } from '../../../collector/egress/egress.ts';
import { readPolicy } from '../../../collector/egress/policy.ts';
import { PROXY_LIMITS, type ProxyLimits } from '../../../collector/egress/proxy.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { fakeLog } from '../../fakes/ports.ts';

/** The test's servers listen on loopback, which a policy has to open by address. */
export const LOOPBACK = { id: 'loopback', to: '127.0.0.0/8' };

export async function egressSite(
  policy: object,
  names: Readonly<Record<string, readonly string[]>> = {},
  limits: Partial<ProxyLimits> = {},
  upstream?: string,
  resolver?: Parameters<typeof createEgress>[0]['resolver'],
) {
  const told: Draft[] = [];
  const resolve = async (name: string) => {
    const found = names[name];
    if (found === undefined) throw Object.assign(new Error(name), { code: 'ENOTFOUND' });
    return found;
  };
  const egress = createEgress(
    {
      policy: readPolicy({ name: 'test', default: 'deny', ...policy }, 'ab'.repeat(32)),
      resolve,
      clock: createClock(),
      log: fakeLog(),
      limits: { ...PROXY_LIMITS, ...limits },
      ...(upstream === undefined ? {} : { upstream }),
      ...(resolver === undefined ? {} : { resolver }),
    },
    (drafts) => void told.push(...drafts),
  );
  await egress.start();
  const { env } = await egress.prepare({ argv: [], env: {}, cwd: '/' });
  const url = env.http_proxy as string;
  const kind = <K extends Draft['kind']>(name: K) =>
    told.filter((draft): draft is DraftOf<K> & Draft => draft.kind === name);
  return {
    egress,
    told,
    url,
    port: Number(new URL(url).port),
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', ...env } as Record<string, string>,
    decisions: () => kind('policy.decision'),
    passed: () => kind('net'),
    gaps: () => kind('gap'),
    sensors: () => kind('sensor'),
  };
}

/** Runs a program to its end. */
export const runIn = (env: Record<string, string>, file: string, args: readonly string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(file, args, { env, timeout: 20_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number((error as { code?: unknown }).code ?? -1);
      resolve({ code, stdout, stderr });
    });
  });

/** What a raw request is answered with, until the proxy closes the connection. */
export const raw = (port: number, bytes: string | Buffer, waitMs = 2000) =>
  new Promise<string>((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    const parts: Buffer[] = [];
    const done = () => {
      socket.destroy();
      resolve(Buffer.concat(parts).toString('latin1'));
    };
    const timer = setTimeout(done, waitMs);
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      done();
    });
    socket.write(bytes);
    socket.end();
  });

/** A plain server that answers with the request's line and headers. */
export async function echoServer() {
  const server = http.createServer((request, response) => {
    let bytes = 0;
    request.on('data', (part: Buffer) => {
      bytes += part.length;
    });
    request.on('end', () =>
      response.end(JSON.stringify({ url: request.url, headers: request.headers, bytes })),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  return { port, close: () => new Promise((resolve) => server.close(resolve)) };
}
