import pino from 'pino';
import type { Log, LogFields } from '#schemas';

/** JSON lines on standard error, for services. */
export function serviceLog(name: string, level: string): Log {
  const logger = pino({ name, level, base: { name } }, pino.destination({ dest: 2, sync: true }));
  return {
    debug: (event, fields) => logger.debug({ event, ...fields }),
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
  };
}

function line(level: string, event: string, fields: LogFields = {}): string {
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return `telltale: ${level}${event} ${words.join(' ')}`.trimEnd();
}

/**
 * Lines for a person on standard error, for commands whose terminal belongs to somebody else.
 * Values are JSON strings, so that no telemetry reaches the terminal unescaped.
 */
export function terminalLog(verbose: boolean): Log {
  const write = (text: string) => process.stderr.write(`${text}\n`);
  return {
    debug: () => {},
    info: (event, fields) => {
      if (verbose) write(line('', event, fields));
    },
    warn: (event, fields) => write(line('warning: ', event, fields)),
    error: (event, fields) => write(line('error: ', event, fields)),
  };
}
