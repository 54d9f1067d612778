/** A disk that says when what was appended would survive a loss of power. */
import path from 'node:path';
import type { Disk } from '../../collector/disk.ts';

export interface SyncedDisk extends Disk {
  /**
   * Resolves when all that was appended before the call is synced. Calls that overlap share a sync:
   * one is under way, and one waits for all who came meanwhile.
   */
  flush(): Promise<void>;
}

/** The same disk, with a note of what is not synced yet. */
export function createSyncedDisk(disk: Disk): SyncedDisk {
  const files = new Map<number, string>();
  const dirty = new Set<string>();
  let running: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;

  const syncOne = (file: string) =>
    new Promise<void>((resolve, reject) => {
      disk.syncLater(file, (error) => (error === null ? resolve() : reject(error)));
    });

  async function syncAll(): Promise<void> {
    const taken = [...dirty];
    dirty.clear();
    try {
      await Promise.all(taken.map(syncOne));
    } catch (error) {
      for (const file of taken) dirty.add(file);
      throw error;
    }
  }

  function begin(): Promise<void> {
    waiting = undefined;
    const mine = syncAll().finally(() => {
      if (running === mine) running = undefined;
    });
    running = mine;
    return mine;
  }

  return {
    ...disk,
    open(file) {
      const fd = disk.open(file);
      files.set(fd, file);
      dirty.add(path.dirname(file));
      return fd;
    },
    append(fd, bytes) {
      disk.append(fd, bytes);
      const file = files.get(fd);
      if (file !== undefined) dirty.add(file);
    },
    close(fd) {
      files.delete(fd);
      disk.close(fd);
    },
    flush() {
      if (running === undefined) return begin();
      waiting ??= running.then(begin, begin);
      return waiting;
    },
  };
}
