/** Picks single variables out of an environment, so that no other one leaves the process. */

/**
 * Returns a function over the bytes of /proc/PID/environ: the wanted variables as NUL-ended
 * `NAME=value` strings, in the order of `names`. A name that ends in `*` stands for all with that
 * beginning.
 */
export function createKeyPicker(names: readonly string[]): (environ: Buffer) => Buffer {
  const needles = names.map((name) =>
    Buffer.from(name.endsWith('*') ? `\0${name.slice(0, -1)}` : `\0${name}=`),
  );
  const endOf = (bytes: Buffer, at: number) => {
    const end = bytes.indexOf(0, at);
    return end < 0 ? bytes.length : end;
  };
  return (environ) => {
    const found: Buffer[] = [];
    const take = (at: number) => {
      found.push(environ.subarray(at, endOf(environ, at)), END);
    };
    for (const needle of needles) {
      const name = needle.subarray(1);
      if (environ.subarray(0, name.length).equals(name)) take(0);
      for (let at = environ.indexOf(needle); at >= 0; at = environ.indexOf(needle, at + 1))
        take(at + 1);
    }
    return found.length === 0 ? NOTHING : Buffer.concat(found);
  };
}

const END = Buffer.from([0]);
const NOTHING = Buffer.alloc(0);
