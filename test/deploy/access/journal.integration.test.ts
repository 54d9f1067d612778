/** The journal: on disk before it is promised, in the table by the normal way, verified as any other. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Disk, systemDisk } from '../../../collector/disk.ts';
import { createRedactor } from '../../../collector/redact.ts';
import {
  createJournals,
  type JournalDeps,
  type JournalPart,
} from '../../../deploy/access/journal.ts';
import { directTransport } from '../../../deploy/access/open.ts';
import { createSyncedDisk } from '../../../deploy/access/synced-disk.ts';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { type AccessDraft, caseworkSession, JournalError } from '../../../query/access/journal.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { openTestStore, serve, type TestStore } from '../../query/service.ts';

const access = (operation: string): AccessDraft => ({
  kind: 'access',
  actor: 'kim',
  operation,
  outcome: 'success',
});

let test: TestStore;
const dirs: string[] = [];
const newDir = () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-journal-'));
  dirs.push(dir);
  return dir;
};
beforeAll(async () => {
  test = await openTestStore();
});
afterAll(async () => {
  await test.close();
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
});

function open(dir = newDir(), more: Partial<JournalDeps> = {}): JournalPart {
  const ports = { log: fakeLog(), meter: fakeMeter(), clock: createClock(), random: systemRandom };
  const transport = directTransport({ ...ports, store: test.store });
  return createJournals({ ...ports, dir, transport, ...more });
}

describe('the journal', () => {
  it('puts accesses and casework of each tenant into sessions of their own', async () => {
    const part = open();
    part.start();
    const acme = part.journals('acme');
    const first = await acme.append(access('one'));
    const [second, third] = await Promise.all([
      acme.append(access('two')),
      acme.append({ kind: 'annotation', actor: 'kim', note: 'seen', refs: ['a-1'] }),
    ]);
    const other = await part.journals('globex').append(access('theirs'));
    expect(first.session).toBe(second.session);
    expect(third.session).toBe(caseworkSession('acme'));
    expect(new Set([first.session, third.session, other.session]).size).toBe(3);
    expect(BigInt(second.ts)).toBeGreaterThan(BigInt(first.ts));
    await part.stop();
    await expect(acme.append(access('late'))).rejects.toThrow(JournalError);

    const service = await serve(test.store, 'acme');
    const { data } = await service.ask(
      `{ session(id: "${first.session}") { completeness { verdict }
          streams { integrity { verdict sealed events checkpoints } }
          timeline(first: 20) { nodes { id kind ... on AccessEvent { actor operation } } } } }`,
    );
    expect(data?.session.completeness.verdict).toBe('complete');
    expect(data?.session.streams[0].integrity).toMatchObject({ verdict: 'intact', sealed: true });
    const nodes: { id: string; operation?: string }[] = data?.session.timeline.nodes;
    expect(nodes.flatMap(({ operation }) => operation ?? [])).toEqual(['one', 'two']);
    expect(nodes.find(({ id }) => id === first.id)?.operation).toBe('one');
    await service.app.close();
  });

  it('keeps no secret that somebody looked for', async () => {
    const dir = newDir();
    const key = Buffer.alloc(32, 7);
    const part = open(dir, { redact: createRedactor({ key, content: 'full' }) });
    const token = `ghp_${'0aB1cD2eF3'.repeat(4).slice(0, 36)}`;
    const asked = { ...access('search'), attrs: { variables: JSON.stringify({ words: token }) } };
    await part.journals('acme').append(asked);
    await part.journals('acme').append({ kind: 'annotation', actor: 'kim', note: `saw ${token}` });
    const files = fs.readdirSync(dir, { recursive: true, encoding: 'utf8' });
    const texts = files
      .filter((name) => name.endsWith('.log'))
      .map((name) => fs.readFileSync(path.join(dir, name), 'latin1'));
    expect(texts.join('')).not.toContain(token);
    expect(texts.join('').match(/\[redacted:github-pat:[0-9a-f]{16}\]/g)).toHaveLength(2);
  });

  it('has an event on disk and synced before it promises it', async () => {
    const dir = newDir();
    const synced: string[] = [];
    const disk: Disk = {
      ...systemDisk,
      syncLater: (file, done) =>
        systemDisk.syncLater(file, (error) => {
          synced.push(fs.statSync(file).isFile() ? fs.readFileSync(file, 'utf8') : '');
          done(error);
        }),
    };
    const part = open(dir, { disk });
    await part.journals('acme').append(access('a look'));
    expect(synced.some((text) => text.includes('a look'))).toBe(true);
    await part.stop();
  });

  it('refuses when the disk is full, takes more when it is not, and says what it did not take', async () => {
    let full = false;
    const disk: Disk = {
      ...systemDisk,
      append: (fd, bytes) => {
        if (full) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        systemDisk.append(fd, bytes);
      },
    };
    const part = open(newDir(), { disk });
    const journal = part.journals('acme');
    const { session } = await journal.append(access('before'));
    full = true;
    for (let i = 0; i < 3; i++)
      await expect(journal.append(access(`lost ${i}`))).rejects.toThrow(JournalError);
    expect(journal.failing).toBe(true);
    full = false;
    await journal.append(access('after'));
    expect(journal.failing).toBe(false);
    await part.stop();
    const service = await serve(test.store, 'acme');
    const { data } = await service.ask(
      `{ session(id: "${session}") { completeness { verdict unaccountedCount: __typename streams { completeness { unnumberedLost unaccountedCount } } }
          timeline(first: 20) { nodes { kind ... on AccessEvent { operation } } }
          streams { integrity { verdict } } } }`,
    );
    const nodes: { operation?: string }[] = data?.session.timeline.nodes;
    const operations = nodes.flatMap(({ operation }) => operation ?? []);
    expect(operations).toContain('before');
    expect(operations).toContain('after');
    const [stream] = data?.session.completeness.streams ?? [];
    // What had its number already is kept and comes later; what had none is declared.
    const kept = operations.filter((one) => one.startsWith('lost')).length;
    expect(kept + stream.completeness.unnumberedLost).toBe(3);
    expect(stream.completeness.unaccountedCount).toBe(0);
    expect(data?.session.streams[0].integrity.verdict).toBe('intact');
    await service.app.close();
  });

  it('refuses when more waits than it may hold', async () => {
    const part = open(newDir(), { bytesMax: 1 });
    await expect(part.journals('acme').append(access('too much'))).rejects.toThrow(JournalError);
    await part.stop();
  });

  it('ships what a process left that was killed', async () => {
    const dir = newDir();
    const ports = {
      log: fakeLog(),
      meter: fakeMeter(),
      clock: createClock(),
      random: systemRandom,
    };
    const away = {
      ...directTransport({ ...ports, store: test.store }),
      send: async () => {
        throw new Error('away');
      },
    };
    const killed = createJournals({ ...ports, dir, transport: away });
    const { session } = await killed.journals('acme').append(access('left behind'));
    const [name] = fs.readdirSync(dir);
    const file = path.join(dir, name as string, 'stream.json');
    const owner = JSON.parse(fs.readFileSync(file, 'utf8'));
    fs.writeFileSync(file, JSON.stringify({ ...owner, ownerPid: 2 ** 22 + 1, ownerStart: '1' }));
    const part = open(dir);
    part.start();
    await part.stop();
    const service = await serve(test.store, 'acme');
    const { data } = await service.ask(
      `{ session(id: "${session}") { timeline(first: 9) { nodes { ... on AccessEvent { operation } } } completeness { verdict } } }`,
    );
    expect(data?.session.timeline.nodes).toContainEqual({ operation: 'left behind' });
    expect(data?.session.completeness.verdict).toBe('open');
    await service.app.close();
  });
});

describe('a synced disk', () => {
  it('shares a sync between those that wait, and never answers before it', async () => {
    const done: (() => void)[] = [];
    const disk = createSyncedDisk({
      ...systemDisk,
      open: () => 7,
      append: () => {},
      syncLater: (_file, end) => void done.push(() => end(null)),
    });
    const fd = disk.open('/x/a.log');
    const finished: number[] = [];
    const flush = (n: number) => disk.flush().then(() => finished.push(n));
    const step = () => new Promise((resolve) => setImmediate(resolve));
    disk.append(fd, Buffer.from('1'));
    const all = [flush(1)];
    await step();
    // The file and its folder are under way; what is appended now is not in that sync.
    expect(done).toHaveLength(2);
    disk.append(fd, Buffer.from('2'));
    all.push(flush(2));
    disk.append(fd, Buffer.from('3'));
    all.push(flush(3));
    for (const end of done.splice(0)) end();
    await step();
    expect(finished).toEqual([1]);
    expect(done).toHaveLength(1);
    for (const end of done.splice(0)) end();
    await Promise.all(all);
    expect(finished).toEqual([1, 2, 3]);
  });
});
