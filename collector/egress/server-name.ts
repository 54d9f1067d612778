/**
 * The server that a client asks for within a tunnel: the name in TLS's first message (SNI, RFC 6066,
 * 3), which is the only part of a tunnel that is in clear. It is looked at as it passes by and holds
 * nothing up; what is no TLS, or hides its name, has none.
 */
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { getExtensionData, readTlsClientHello } from 'read-tls-client-hello';
import { hostOf } from './addresses.ts';

/** A record of TLS is at most 16 KiB and a few bytes long. */
const HELLO_BYTES_MAX = 20 * 1024;

/** Tells the name once, as soon as the client has said it. To be called before the tunnel is made. */
export function onServerName(client: Socket, tell: (name: string) => void): void {
  // Reading before the tunnel is there would lose what is read: it is there once it is piped.
  client.once('pipe', () => {
    const copy = new PassThrough();
    let bytes = 0;
    const take = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > HELLO_BYTES_MAX) leave();
      else copy.write(chunk);
    };
    const leave = () => {
      client.off('data', take);
      client.off('close', leave);
      copy.destroy();
    };
    client.on('data', take);
    client.once('close', leave);
    readTlsClientHello(copy)
      .then((hello) => {
        const said = getExtensionData(hello, 'server_name')?.serverName;
        const name = said === undefined ? undefined : hostOf(said);
        if (name !== undefined) tell(name);
      })
      .catch(() => {})
      .finally(leave);
  });
}
