/**
 * What ingest costs, and how fast it is, everything on.
 *
 *     npm run bench:ingest                                    CPU time of the worker an event
 *     npm run bench:ingest -- e2e --seconds 300               real Kafka to table, as fast as it goes
 *     npm run bench:ingest -- latency --seconds 60 --rate 5000   from the sensor to the table
 *     npm run bench:ingest -- integrity --seconds 15          rows with the columns of integrity and without
 *     npm run bench:ingest -- storage                         bytes an event on recorded sessions
 *
 * Prints one JSON line. What each figure means, and what it was: README.md.
 */
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    rate: { type: 'string' },
  },
});
/** A positive number that was given, or `otherwise`. */
function numberOf(name: keyof typeof values, otherwise: number): number {
  const value = values[name] === undefined ? otherwise : Number(values[name]);
  if (value > 0) return value;
  process.stderr.write(`--${name} ${values[name]} is not a positive number\n`);
  process.exit(2);
}

const MODES: Readonly<Record<string, () => Promise<object>>> = {
  cpu: async () => (await import('./ingest/cpu.ts')).cpu(),
  e2e: async () => (await import('./ingest/e2e.ts')).throughput(numberOf('seconds', 20)),
  latency: async () =>
    (await import('./ingest/e2e.ts')).latency(numberOf('seconds', 20), numberOf('rate', 5000)),
  integrity: async () => (await import('./ingest/integrity.ts')).integrity(numberOf('seconds', 10)),
  storage: async () => (await import('./ingest/storage.ts')).storage(),
};
const mode = positionals[0] ?? 'cpu';
const run = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
if (run === undefined) {
  process.stderr.write(`usage: bench:ingest ${Object.keys(MODES).join('|')}\n`);
  process.exit(2);
}
const result = await run();
process.stdout.write(`${JSON.stringify({ bench: `ingest ${mode}`, ...result })}\n`);
process.exit(0);
