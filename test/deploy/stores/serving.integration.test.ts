import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { migrate } from '../../../deploy/migrate.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { openServing } from '../../../deploy/stores/serving.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { type Bridge, startBridge } from './bridge.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'serving-'));
let bridge: Bridge | undefined;
let gate: http.Server | undefined;
afterEach(async () => {
  await bridge?.close();
  gate?.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** An address at which requests are refused until `open` is set, and handed on from then. */
async function gateTo(port: number): Promise<{ url: string; open: boolean; refused: number }> {
  const state = { url: '', open: false, refused: 0 };
  gate = http.createServer((request, response) => {
    if (!state.open) {
      state.refused++;
      request.socket.destroy();
      return;
    }
    const { method, url, headers } = request;
    const on = http.request({ port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    on.on('error', () => response.destroy());
    request.pipe(on);
  });
  await new Promise<void>((resolve) => gate?.listen(0, '127.0.0.1', resolve));
  state.url = `http://127.0.0.1:${(gate.address() as AddressInfo).port}`;
  return state;
}

describe('the store of a service', () => {
  it('is waited for without end by a worker, and for a bounded time by others', async () => {
    bridge = await startBridge(dir);
    const direct = await openStore(bridge.url, { log: fakeLog() });
    await migrate(direct, { log: fakeLog() });
    await direct.close();
    const gated = await gateTo(Number(new URL(bridge.url).port));
    await expect(openServing(gated.url, fakeLog(), 100)).rejects.toThrow(/127\.0\.0\.1|hang up/);
    const opening = openServing(gated.url, fakeLog(), Number.POSITIVE_INFINITY);
    const tried = gated.refused;
    await expect.poll(() => gated.refused, { timeout: 10_000 }).toBeGreaterThan(tried + 1);
    gated.open = true;
    const store = await opening;
    await store.close();
  });
});
