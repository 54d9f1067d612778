/**
 * The signing key of a log or of a witness: a file beside what it signs, readable by its user
 * alone, made at the first start. Its name is the log's origin or the witness's name, for ever.
 */
import {
  parseSignerKey,
  type Random,
  type SignatureType,
  type SignerKey,
  signerOf,
} from '#schemas';
import { type LogFiles, replaceFile } from './files.ts';
import { LogError } from './log.ts';

const SEED_BYTES = 32;

export interface KeyOptions {
  /** The file's name. */
  readonly file: string;
  readonly type: SignatureType;
  /** What the key is to be called; where it is undefined, any name that it has is right. */
  readonly name: string | undefined;
  /** What a new key is called when `name` is undefined. */
  readonly nameOfNew: string;
}

/** The key in `files`, or a new one. Rejects with `LogError` where it is not the one asked for. */
export async function openKey(
  files: LogFiles,
  random: Random,
  { file, type, name, nameOfNew }: KeyOptions,
): Promise<SignerKey> {
  const bytes = await files.read(file);
  if (bytes === undefined) {
    const seed = random.bytes(SEED_BYTES);
    const key = signerOf(name ?? nameOfNew, type, seed);
    await replaceFile(files, file, Buffer.from(`${key.text}\n`));
    return key;
  }
  const parsed = parseSignerKey(bytes.toString().trimEnd());
  if (!parsed.ok) throw new LogError(`${file}: ${parsed.what}`);
  const { verifier } = parsed.value;
  if (verifier.type !== type) throw new LogError(`${file}: it is a key of type ${verifier.type}`);
  if (name !== undefined && verifier.name !== name)
    throw new LogError(`${file}: it is called ${verifier.name}, not ${name}`);
  return parsed.value;
}
