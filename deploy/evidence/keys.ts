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
import type { VerifyOptions } from '../../schemas/evidence/verify.ts';
import { UsageError } from '../process/lifecycle.ts';

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

/** What to hold a bundle to, from the flags of a command. */
export function trustOf(flags: KeyFlags): VerifyOptions {
  return {
    logKeys: keysOf('log-key', flags['log-key'], SIGNATURE_ED25519),
    witnesses: keysOf('witness', flags.witness, SIGNATURE_COSIGNATURE_V1),
    ...(flags.known === undefined ? {} : { known: knownOf(flags.known) }),
  };
}
