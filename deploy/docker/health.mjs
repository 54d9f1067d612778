// The health check of the images: asks /readyz of the service beside it, exits with 0 or 1, and says why.
//   health.mjs [PORT]      the port of `--health`; 9464 where none is given
// The query service's own port is not asked for data: a request of nobody is refused, and written down.
const TIMEOUT_MS = 6000;
const DEFAULT_PORT = 9464;

const [text = String(DEFAULT_PORT)] = process.argv.slice(2);
const port = Number(text);
if (!Number.isInteger(port) || port < 1 || port > 65_535) {
  process.stderr.write('usage: health.mjs [PORT]\n');
  process.exit(2);
}

/** The check that fails, and its reason: all of them words of a closed list. */
function faults({ checks = {} }) {
  return Object.entries(checks)
    .filter(([, { status }]) => status !== 'pass')
    .map(([name, { reason }]) => `${name} ${reason}`);
}

try {
  const url = `http://127.0.0.1:${port}/readyz`;
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  const report = await response.json();
  process.stdout.write(response.ok ? 'ready\n' : `not ready: ${faults(report).join(', ')}\n`);
  process.exit(response.ok ? 0 : 1);
} catch (error) {
  process.stdout.write(`no answer on port ${port}: ${error.cause?.code ?? error.name}\n`);
  process.exit(1);
}
