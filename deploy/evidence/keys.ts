import fs from 'node:fs';
import {
  parseCheckpointText,
  parseNote,
  parseVerifierKey,
  SIGNATURE_COSIGNATURE_V1,
  SIGNATURE_ED25519,
  type SignatureType,
  type VerifierKey,
} from '#schemas';
import type { WitnessAddress } from '../../ingest/seal/witnesses.ts';
import type { VerifyOptions } from '../../schemas/evidence/verify.ts';
import { UsageError } from '../process/lifecycle.ts';

/** `URL=VKEY` of a flag: where a witness is, and the key that its cosignatures must have. */
export function witnessOf(text: string): WitnessAddress {
  const at = text.indexOf('=');
  const [url, vkey] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`--witness ${text}: give http://HOST:PORT=VKEY`);
  const key = parseVerifierKey(vkey);
  if (!key.ok) throw new UsageError(`--witness ${url}: ${key.what}`);
  if (key.value.type !== SIGNATURE_COSIGNATURE_V1)
    throw new UsageError(`--witness ${url}: its key is no witness’s (type 4, cosignature/v1)`);
  return { url: url.replace(/\/+$/, ''), key: key.value };
}

function keysOf(flag: string, texts: readonly string[], type: SignatureType): VerifierKey[] {
  return texts.map((text) => {
    const key = parseVerifierKey(text);
    if (!key.ok) throw new UsageError(`--${flag}: ${key.what}`);
    if (key.value.type !== type) throw new UsageError(`--${flag}: a key of type ${key.value.type}`);
    return key.value;
  });
}

/** A head of the log that was kept: a signed note, or a bundle's `log/checkpoint` by itself. */
function knownOf(file: string): NonNullable<VerifyOptions['known']> {
  const note = parseNote(fs.readFileSync(file));
  const head = note.ok ? parseCheckpointText(note.value.text) : note;
  if (!head.ok) throw new UsageError(`--known ${file}: ${head.what}`);
  return head.value;
}

export interface KeyFlags {
  readonly 'log-key': readonly string[];
  readonly witness: readonly string[];
  readonly known?: string | undefined;
}

/** A key alone holds no colon and two slashes: its name is not a URL with a scheme. */
const hasAddress = (text: string): boolean => /^[a-z]+:\/\/[^=]*=/.test(text);

/** The witnesses that are to be asked by themselves: those that a flag gives an address of. */
export const addressesOf = (flags: KeyFlags): readonly WitnessAddress[] =>
  flags.witness.filter(hasAddress).map(witnessOf);

/** What to hold a bundle to, from the flags of a command. */
export function trustOf(flags: KeyFlags): VerifyOptions {
  const alone = flags.witness.filter((text) => !hasAddress(text));
  const asked = addressesOf(flags).map(({ key }) => key);
  return {
    logKeys: keysOf('log-key', flags['log-key'], SIGNATURE_ED25519),
    witnesses: [...keysOf('witness', alone, SIGNATURE_COSIGNATURE_V1), ...asked],
    ...(flags.known === undefined ? {} : { known: knownOf(flags.known) }),
  };
}
