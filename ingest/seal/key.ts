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

/** Keys that were in use before and sign on beside the new one, until nobody asks for them. */
const previousFile = (file: string): string => `${file}.previous`;

async function previousKeys(
  files: LogFiles,
  { file, type }: Pick<KeyOptions, 'file' | 'type'>,
): Promise<SignerKey[]> {
  const name = previousFile(file);
  const lines = (await files.read(name))?.toString().split('\n') ?? [];
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const parsed = parseSignerKey(line);
      if (!parsed.ok) throw new LogError(`${name}: ${parsed.what}`);
      if (parsed.value.verifier.type !== type)
        throw new LogError(`${name}: a key of type ${parsed.value.verifier.type}`);
      return parsed.value;
    });
}

/** The key in `files`, or a new one, and behind it those that sign on beside it. */
export async function openKeys(
  files: LogFiles,
  random: Random,
  options: KeyOptions,
): Promise<readonly [SignerKey, ...SignerKey[]]> {
  const key = await openKey(files, random, options);
  const before = await previousKeys(files, options);
  // A rotation that was cut short left the key in both files.
  return [key, ...before.filter(({ text }) => text !== key.text)];
}

/**
 * Puts a new key of the same name in the place of the one in `file`, which signs on beside it: C2SP
 * notes carry several signatures. Resolves to the new key. Rejects with `LogError` where there is none.
 */
export async function rotateKey(
  files: LogFiles,
  random: Random,
  { file, type }: Pick<KeyOptions, 'file' | 'type'>,
): Promise<SignerKey> {
  if ((await files.read(file)) === undefined) throw new LogError(`${file}: there is no key yet`);
  const options = { file, type, name: undefined, nameOfNew: '' };
  const keys = await openKeys(files, random, options);
  const [old] = keys;
  const next = signerOf(old.verifier.name, type, random.bytes(SEED_BYTES));
  const lines = keys.map(({ text }) => `${text}\n`).join('');
  await replaceFile(files, previousFile(file), Buffer.from(lines));
  await replaceFile(files, file, Buffer.from(`${next.text}\n`));
  return next;
}

/** Ends the overlap: only the newest key signs from now on. Resolves to how many were let go of. */
export async function retireKeys(
  files: LogFiles,
  options: Pick<KeyOptions, 'file' | 'type'>,
): Promise<number> {
  const before = await previousKeys(files, options);
  await files.remove(previousFile(options.file));
  await files.syncDir('.');
  return before.length;
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
