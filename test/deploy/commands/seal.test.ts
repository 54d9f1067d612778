import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { signerOf } from '#schemas';
import { httpPost, seal } from '../../../deploy/commands/seal.ts';
import { witness } from '../../../deploy/commands/witness.ts';
import { witnessOf } from '../../../deploy/evidence/keys.ts';
import { lockDir } from '../../../deploy/process/lock.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-seal-command-'));
const server = http.createServer((request, response) => {
  if (request.url === '/silent') return;
  if (request.url === '/moved') response.writeHead(302, { location: '/echo' });
  if (request.url === '/endless') {
    response.write('x'.repeat(200_000));
    return;
  }
  request.pipe(response);
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
afterAll(() => {
  server.closeAllConnections();
  server.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const WITNESS = signerOf('example.com/witness', 4, Buffer.alloc(32, 1)).verifier.text;
const LOG = signerOf('example.com/log', 1, Buffer.alloc(32, 2)).verifier.text;

describe('--witness URL=VKEY', () => {
  it('is read', () => {
    const { url: at, key } = witnessOf(`http://127.0.0.1:4562/=${WITNESS}`);
    expect([at, key.text]).toEqual(['http://127.0.0.1:4562', WITNESS]);
  });

  it.each([
    ['', 'give http'],
    [WITNESS, 'give http'],
    [`ftp://h=${WITNESS}`, 'give http'],
    ['http://h', 'give http'],
    ['http://h=x', 'a key is NAME'],
    [`http://h=${LOG}`, 'no witness’s'],
  ])('is refused: %s', (text, what) => {
    expect(() => witnessOf(text)).toThrow(what);
  });
});

describe('the commands', () => {
  it('say what is missing or wrong, all at once', async () => {
    await expect(seal([])).rejects.toThrow('give --store URL (or TELLTALE_STORE) and --dir DIR');
    const witnessed = ['--store', 'http://h', '--dir', dir, '--witness', 'x'];
    await expect(seal(witnessed)).rejects.toThrow('--witness x');
    await expect(witness([])).rejects.toThrow('--dir');
    await expect(witness(['--dir', dir, '--log', WITNESS])).rejects.toThrow('no log’s key');
    await expect(witness(['--dir', dir, '--log', LOG, '--log', LOG])).rejects.toThrow('twice');
  });

  it('leave a directory alone that another process has', async () => {
    const unlock = lockDir(path.join(dir, 'taken'));
    await expect(witness(['--dir', path.join(dir, 'taken')])).rejects.toThrow('in use');
    const args = ['--store', 'http://127.0.0.1:9', '--dir', path.join(dir, 'taken')];
    await expect(seal(args)).rejects.toThrow('in use');
    unlock();
  });
});

describe('a request to a witness', () => {
  it('gives the answer, and is over in time', async () => {
    expect(await httpPost(`${url}/echo`, 'old 0\n', 5_000)).toEqual({
      status: 200,
      body: 'old 0\n',
    });
    const start = performance.now();
    await expect(httpPost(`${url}/silent`, '', 200)).rejects.toThrow();
    await expect(httpPost(`${url}/endless`, '', 60_000)).rejects.toThrow('answers more than');
    await expect(httpPost(`${url}/moved`, '', 5_000)).rejects.toThrow();
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});
