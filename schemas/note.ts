/**
 * Signed notes, log checkpoints and their cosignatures, as C2SP signed-note, tlog-checkpoint and
 * tlog-cosignature have them.
 *
 *     note          text LF LF-ended signature lines:  text LF (— name SP base64 LF)+
 *     base64        4-byte key id || signature
 *     key id        SHA-256(name LF type || public key)[:4]
 *     vkey          name+hex(key id)+base64(type || public key)
 *     skey          PRIVATE+KEY+name+hex(key id)+base64(type || seed), as Go's sumdb/note has it
 *     type 0x01     Ed25519 over the text
 *     type 0x04     8-byte time || Ed25519 over "cosignature/v1" LF "time" SP seconds LF text
 *     checkpoint    origin LF size LF base64(root) LF (extension LF)*
 *
 * What comes from outside is parsed within limits, and never throws.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from 'node:crypto';
import { HASH_BYTES, type Hash } from './merkle.ts';

/** The longest note that is read. Notes must have room for 16 signatures of up to 5 KB each. */
export const NOTE_BYTES_MAX = 256 * 1024;
export const SIGNATURES_MAX = 64;
export const KEY_NAME_BYTES_MAX = 255;

export const SIGNATURE_ED25519 = 0x01;
export const SIGNATURE_COSIGNATURE_V1 = 0x04;
export type SignatureType = typeof SIGNATURE_ED25519 | typeof SIGNATURE_COSIGNATURE_V1;

/** A value, or in words why there is none. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly what: string };

const good = <T>(value: T): Parsed<T> => ({ ok: true, value });
const bad = (what: string): Parsed<never> => ({ ok: false, what });

export interface VerifierKey {
  readonly name: string;
  /** 8 hex digits. */
  readonly id: string;
  readonly type: SignatureType;
  readonly publicKey: KeyObject;
  /** The key as text: `name+id+base64`. */
  readonly text: string;
}

export interface SignerKey {
  readonly verifier: VerifierKey;
  readonly privateKey: KeyObject;
  /** The key as text, secret: `PRIVATE+KEY+name+id+base64`. */
  readonly text: string;
}

const KEY_BYTES = 32;
const KEY_ID_BYTES = 4;
const TIME_BYTES = 8;
const SIGNATURE_BYTES = 64;
/** DER around the raw 32 bytes of an Ed25519 key (RFC 8410). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Key names have no Unicode blanks and no plus sign; control characters no note may hold. */
export const isKeyName = (name: string): boolean =>
  name.length > 0 &&
  Buffer.byteLength(name) <= KEY_NAME_BYTES_MAX &&
  name.isWellFormed() &&
  !/[\p{White_Space}\p{Cc}+]/u.test(name);

/** Standard base64 with padding; undefined for anything that would not be written so. */
function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function keyId(name: string, typed: Uint8Array): string {
  const digest = createHash('sha256').update(`${name}\n`).update(typed).digest();
  return digest.subarray(0, KEY_ID_BYTES).toString('hex');
}

function verifierOf(name: string, type: SignatureType, raw: Uint8Array): VerifierKey {
  const typed = Buffer.concat([Buffer.of(type), raw]);
  const id = keyId(name, typed);
  const der = Buffer.concat([SPKI, raw]);
  return {
    name,
    id,
    type,
    publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }),
    text: `${name}+${id}+${typed.toString('base64')}`,
  };
}

/** The key pair of a 32-byte seed. Throws a RangeError for a bad name or seed: both are ours. */
export function signerOf(name: string, type: SignatureType, seed: Uint8Array): SignerKey {
  if (!isKeyName(name)) throw new RangeError(`${JSON.stringify(name)} is no key name`);
  if (seed.length !== KEY_BYTES) throw new RangeError(`a seed has ${KEY_BYTES} bytes`);
  const der = Buffer.concat([PKCS8, seed]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const verifier = verifierOf(name, type, spki.subarray(SPKI.length));
  const secret = Buffer.concat([Buffer.of(type), seed]).toString('base64');
  return { verifier, privateKey, text: `PRIVATE+KEY+${name}+${verifier.id}+${secret}` };
}

/** What `name+id+base64` says, with its type byte checked. */
function parseKey(text: string): Parsed<{ name: string; id: string; typed: Buffer }> {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.slice(0, 1024));
  if (match === null) return bad('a key is NAME+8 HEX DIGITS+BASE64');
  const [, name = '', id = '', base64 = ''] = match;
  if (!isKeyName(name)) return bad('its name holds a blank or a control character');
  const typed = fromBase64(base64);
  if (typed === undefined) return bad('its third part is not base64');
  if (typed[0] !== SIGNATURE_ED25519 && typed[0] !== SIGNATURE_COSIGNATURE_V1)
    return bad(`its type ${typed[0]} is neither 1 (Ed25519) nor 4 (cosignature/v1)`);
  if (typed.length !== 1 + KEY_BYTES) return bad(`an Ed25519 key has ${KEY_BYTES} bytes`);
  return good({ name, id, typed });
}

/** Reads a vkey. */
export function parseVerifierKey(text: string): Parsed<VerifierKey> {
  const parsed = parseKey(text);
  if (!parsed.ok) return parsed;
  const { name, id, typed } = parsed.value;
  const key = verifierOf(name, typed[0] as SignatureType, typed.subarray(1));
  return key.id === id ? good(key) : bad(`its id is ${id} where ${key.id} belongs to the key`);
}

const SECRET = 'PRIVATE+KEY+';

/** Reads an skey. */
export function parseSignerKey(text: string): Parsed<SignerKey> {
  if (!text.startsWith(SECRET)) return bad(`a signer's key begins with ${SECRET}`);
  const parsed = parseKey(text.slice(SECRET.length));
  if (!parsed.ok) return parsed;
  const { name, id, typed } = parsed.value;
  const key = signerOf(name, typed[0] as SignatureType, typed.subarray(1));
  return key.verifier.id === id ? good(key) : bad(`its id is ${id}, not ${key.verifier.id}`);
}

export interface NoteSignature {
  readonly name: string;
  /** 8 hex digits. */
  readonly id: string;
  readonly bytes: Buffer;
  /** The whole line, without its newline. */
  readonly line: string;
}

export interface Note {
  /** What is signed; ends in a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

function parseSignature(line: string): NoteSignature | undefined {
  const match = /^— ([^ ]+) ([A-Za-z0-9+/=]+)$/.exec(line);
  if (match === null || !isKeyName(match[1] as string)) return undefined;
  const bytes = fromBase64(match[2] as string);
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  const id = bytes.subarray(0, KEY_ID_BYTES).toString('hex');
  return { name: match[1] as string, id, bytes: bytes.subarray(KEY_ID_BYTES), line };
}

/** Signature lines as they stand: each with its newline. */
export function parseSignatures(text: string): Parsed<readonly NoteSignature[]> {
  if (!text.endsWith('\n')) return bad('the last signature line does not end');
  const lines = text.slice(0, -1).split('\n', SIGNATURES_MAX + 1);
  if (lines.length > SIGNATURES_MAX) return bad(`there are more than ${SIGNATURES_MAX} signatures`);
  const signatures = lines.map(parseSignature);
  const wrong = signatures.indexOf(undefined);
  if (wrong >= 0) return bad(`signature line ${wrong + 1} is not "— NAME BASE64"`);
  return good(signatures as NoteSignature[]);
}

function textOf(bytes: Uint8Array | string): string | undefined {
  if (typeof bytes === 'string') return bytes.isWellFormed() ? bytes : undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Reads a note. Nothing is verified yet. */
export function parseNote(bytes: Uint8Array | string): Parsed<Note> {
  if (bytes.length > NOTE_BYTES_MAX) return bad(`the note is longer than ${NOTE_BYTES_MAX} bytes`);
  const text = textOf(bytes);
  if (text === undefined) return bad('the note is not UTF-8');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: notes may hold none but the newline.
  if (/[\u0000-\u0009\u000b-\u001f]/.test(text)) return bad('the note holds a control character');
  const end = text.lastIndexOf('\n\n');
  if (end < 0) return bad('no empty line parts text and signatures');
  const signatures = parseSignatures(text.slice(end + 2));
  return signatures.ok
    ? good({ text: text.slice(0, end + 1), signatures: signatures.value })
    : signatures;
}

/** A note as bytes would be written. */
export const formatNote = (text: string, lines: readonly string[]): string =>
  `${text}\n${lines.map((line) => `${line}\n`).join('')}`;

const cosigned = (text: string, seconds: bigint) =>
  Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);

function signatureLine(key: SignerKey, signature: Uint8Array): string {
  const { name, id } = key.verifier;
  return `— ${name} ${Buffer.concat([Buffer.from(id, 'hex'), signature]).toString('base64')}`;
}

/** The signature line of a text, by a key of type Ed25519. */
export function signNote(text: string, key: SignerKey): string {
  if (key.verifier.type !== SIGNATURE_ED25519) throw new RangeError('not a key that signs notes');
  return signatureLine(key, signBytes(null, Buffer.from(text), key.privateKey));
}

/** The line of a cosignature over a checkpoint's text, at `seconds` since 1970. */
export function cosign(text: string, key: SignerKey, seconds: number): string {
  if (key.verifier.type !== SIGNATURE_COSIGNATURE_V1) throw new RangeError('not a witness’s key');
  const time = Buffer.alloc(TIME_BYTES);
  time.writeBigUInt64BE(BigInt(seconds));
  const signature = signBytes(null, cosigned(text, BigInt(seconds)), key.privateKey);
  return signatureLine(key, Buffer.concat([time, signature]));
}

const TIME_MAX = 2n ** 63n - 1n;

/** Whether a signature is one of `key` over `text`; for a cosignature, also when it was made. */
export function verifyNoteSignature(
  text: string,
  signature: NoteSignature,
  key: VerifierKey,
): { readonly seconds?: number } | undefined {
  const { bytes } = signature;
  if (key.type === SIGNATURE_ED25519)
    return bytes.length === SIGNATURE_BYTES &&
      verifyBytes(null, Buffer.from(text), key.publicKey, bytes)
      ? {}
      : undefined;
  if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return undefined;
  const seconds = bytes.readBigUInt64BE();
  if (seconds > TIME_MAX) return undefined;
  const signed = cosigned(text, seconds);
  return verifyBytes(null, signed, key.publicKey, bytes.subarray(TIME_BYTES))
    ? { seconds: Number(seconds) }
    : undefined;
}

export interface VerifiedSignature {
  readonly key: VerifierKey;
  /** When a cosignature was made; undefined for a plain signature. */
  readonly seconds?: number;
  readonly line: string;
}

/**
 * The signatures of a note by known keys, at most one a key. A signature that names a known key and
 * is not that key's spoils the whole note; those of unknown keys mean nothing.
 */
export function verifyNote(
  note: Note,
  keys: readonly VerifierKey[],
): Parsed<readonly VerifiedSignature[]> {
  const found = new Map<string, VerifiedSignature>();
  for (const signature of note.signatures) {
    const key = keys.find((one) => one.name === signature.name && one.id === signature.id);
    if (key === undefined || found.has(key.text)) continue;
    const verified = verifyNoteSignature(note.text, signature, key);
    if (verified === undefined) return bad(`the signature of ${key.name} is wrong`);
    found.set(key.text, { key, line: signature.line, ...verified });
  }
  return good([...found.values()]);
}

/** What a log says of itself: so many leaves, and the root over them. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
}

/** The text of a checkpoint; no extension lines. */
export const checkpointText = ({ origin, size, root }: Checkpoint): string =>
  `${origin}\n${size}\n${root.toString('base64')}\n`;

/** Reads a checkpoint's text. A size beyond 2^53 - 1 is refused. */
export function parseCheckpointText(text: string): Parsed<Checkpoint> {
  const [origin = '', count = '', base64 = '', ...more] = text.split('\n');
  if (more.pop() !== '') return bad('a checkpoint has three lines, each with its newline');
  if (origin === '') return bad('the origin is empty');
  if (more.includes('')) return bad('an extension line is empty');
  const size = Number(count);
  if (!/^(0|[1-9]\d{0,18})$/.test(count)) return bad('the size is no plain number');
  if (!Number.isSafeInteger(size)) return bad('the size is beyond 2^53 - 1');
  const root = fromBase64(base64);
  if (root === undefined || root.length !== HASH_BYTES)
    return bad(`the root is not ${HASH_BYTES} bytes in base64`);
  return good({ origin, size, root });
}

export interface SignedCheckpoint extends Checkpoint {
  readonly note: Note;
  /** The log's own signature. */
  readonly signed: VerifiedSignature;
  /** Cosignatures by the witnesses that were asked for, at most one each. */
  readonly cosignatures: readonly VerifiedSignature[];
}

/**
 * Opens a checkpoint: it must be signed by the log's key, whose name must be its origin. Cosignatures
 * are those of `witnesses`; how many of them are enough is the caller's to say.
 */
export function openCheckpoint(
  bytes: Uint8Array | string,
  logKey: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): Parsed<SignedCheckpoint> {
  const note = parseNote(bytes);
  if (!note.ok) return note;
  const checkpoint = parseCheckpointText(note.value.text);
  if (!checkpoint.ok) return checkpoint;
  const { origin } = checkpoint.value;
  if (origin !== logKey.name)
    return bad(`it is of the log ${JSON.stringify(origin.slice(0, 255))}`);
  const verified = verifyNote(note.value, [logKey, ...witnesses]);
  if (!verified.ok) return verified;
  const signed = verified.value.find(({ key }) => key === logKey);
  if (signed === undefined) return bad(`it is not signed by ${logKey.name}`);
  const cosignatures = verified.value.filter((one) => one.seconds !== undefined && one !== signed);
  return good({ ...checkpoint.value, note: note.value, signed, cosignatures });
}
