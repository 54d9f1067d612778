// The health checks of the images; exits with 0 or 1, and says why.
//   accepts PORT   something takes connections on that port of this container
//   peer PORT      a connection to that port of another machine is established
// The query service is not asked over HTTP: a request of nobody is refused, and written down as such.
import fs from 'node:fs';
import net from 'node:net';

const TIMEOUT_MS = 3000;
const ESTABLISHED = '01';

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port, timeout: TIMEOUT_MS });
    const end = (good) => {
      socket.destroy();
      resolve(good);
    };
    socket.on('connect', () => end(true));
    socket.on('timeout', () => end(false));
    socket.on('error', () => end(false));
  });
}

/** The kernel's table: number, local address, remote address (HEX:PORT), state … */
function hasPeer(port) {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['/proc/net/tcp', '/proc/net/tcp6'].filter(fs.existsSync).some((file) =>
    fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .some((line) => {
        const [, , remote, state] = line.trim().split(/\s+/);
        return state === ESTABLISHED && remote?.endsWith(suffix);
      }),
  );
}

const CHECKS = { accepts, peer: hasPeer };
const [kind = '', text = ''] = process.argv.slice(2);
const port = Number(text);
if (!Object.hasOwn(CHECKS, kind) || !Number.isInteger(port) || port < 1 || port > 65_535) {
  process.stderr.write('usage: health.mjs accepts|peer PORT\n');
  process.exit(2);
}
const good = await CHECKS[kind](port);
process.stdout.write(`${kind} ${port}: ${good ? 'yes' : 'no'}\n`);
process.exit(good ? 0 : 1);
