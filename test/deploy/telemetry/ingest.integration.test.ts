/** `telltale ingest` as a process whose store and broker are away: alive, not ready, and it says why. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { pickPorts } from '../../../deploy/kafka/ports.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const SECRET = 'hunter2';

it('answers while it waits for its store, and nobody need start it again', async () => {
  const [away, port] = await pickPorts(2);
  const worker = spawn(
    process.execPath,
    [
      ...['--conditions=telltale-source', '--import', 'tsx', 'deploy/cli.ts', 'ingest'],
      ...['--kafka', `127.0.0.1:${away}`, '--store', `http://u:${SECRET}@127.0.0.1:${away}`],
      ...['--health', String(port)],
    ],
    { cwd: root, stdio: 'ignore' },
  );
  onTestFinished(() => void worker.kill('SIGKILL'));
  const ask = async (probe: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${probe}`).catch(() => undefined);
    return response === undefined ? undefined : [response.status, await response.text()];
  };
  await expect.poll(() => ask('/healthz'), { timeout: 20_000 }).toBeDefined();
  expect((await ask('/healthz'))?.[0]).toBe(200);
  const [status, text] = (await ask('/readyz')) ?? [];
  expect([status, JSON.parse(String(text)).checks]).toEqual([
    503,
    { store: { status: 'fail', reason: 'not_started' } },
  ]);
  const scraped = String((await ask('/metrics'))?.[1]);
  expect(scraped).toContain('telltale_health_check{check="store",probe="ready"} 0\n');
  expect(`${text}${scraped}`).not.toContain(SECRET);
});
