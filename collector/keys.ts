/**
 * The signing keys of a stream. Each signs one checkpoint and is then gone, so that whoever takes
 * the sandbox finds no key for what was sealed before.
 *
 * What this can promise in Node: the seed is in a buffer of its own outside the heap, which is
 * overwritten as soon as the key is made of it. The key itself is in OpenSSL, which clears the
 * memory when the last reference to it goes, and that is when the garbage is collected.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { publicKeyText, type Random } from '#schemas';

const SEED_BYTES = 32;
/** DER of an Ed25519 PKCS #8 private key (RFC 8410) up to the seed that ends it. */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface KeyChain {
  /** The key that the next checkpoint will be signed with: raw 32 bytes, base64. */
  readonly publicKey: string;
  /** Makes the key after it and gives its public half, for the checkpoint to name. */
  prepare(): string;
  /** Signs with the key, destroys it, and goes on to the one that was prepared, if any. */
  sign(statement: Uint8Array): Buffer;
}

function keyFrom(random: Random): { readonly key: KeyObject; readonly publicKey: string } {
  const seed = random.bytes(SEED_BYTES);
  const der = Buffer.alloc(ED25519_PKCS8.length + SEED_BYTES);
  ED25519_PKCS8.copy(der);
  der.set(seed, ED25519_PKCS8.length);
  try {
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    return { key, publicKey: publicKeyText(createPublicKey(key)) };
  } finally {
    der.fill(0);
    seed.fill(0);
  }
}

/** A new chain of keys. `random` gives each seed and must not keep it. */
export function createKeyChain(random: Random): KeyChain {
  let current: ReturnType<typeof keyFrom> | undefined = keyFrom(random);
  let next: ReturnType<typeof keyFrom> | undefined;
  return {
    get publicKey() {
      return current?.publicKey ?? '';
    },
    prepare() {
      next ??= keyFrom(random);
      return next.publicKey;
    },
    sign(statement) {
      if (current === undefined) throw new Error('the stream is closed: its last key is gone');
      const signature = sign(null, statement, current.key);
      current = next;
      next = undefined;
      return signature;
    },
  };
}
