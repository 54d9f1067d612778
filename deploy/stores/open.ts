import { type Log, type Store, StoreError } from '#schemas';
import { clusterSettings } from '../settings.ts';
import { storeTls } from '../tls.ts';

/** Images for a cluster leave the embedded engine out. */
function refuseMissing(error: unknown): never {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes("'chdb'")) throw error;
  const what =
    'the embedded engine (npm package chdb) is not installed here: give a server, --store http://HOST:8123, or use an installation with its optional packages';
  throw new StoreError({ code: 'refused', message: what }, { cause: error });
}

/** What is no URL may hold a password all the same. */
const withoutPassword = (url: string): string => url.replace(/:[^:@/]*@/g, ':***@');

/**
 * Opens the store that a URL names: `chdb:DIR` embedded, `http://…` or `https://…` a server.
 * Each engine's code is loaded only when it is used: the embedded one is half a gigabyte.
 */
export async function openStore(url: string, deps: { readonly log: Log }): Promise<Store> {
  if (url.startsWith('chdb:')) {
    const { openEmbedded } = await import('./embedded.ts').catch(refuseMissing);
    return openEmbedded(url.slice('chdb:'.length), deps.log);
  }
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) {
    const { HTTP_DEFAULTS, openHttp } = await import('./http.ts');
    return openHttp(new URL(url), { ...HTTP_DEFAULTS, ...clusterSettings() }, storeTls());
  }
  const message = `${withoutPassword(url)}: a store is chdb:DIR or http://[USER:PASSWORD@]HOST:PORT/`;
  throw new StoreError({ code: 'refused', message });
}
