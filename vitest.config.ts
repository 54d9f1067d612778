import { defineConfig } from 'vitest/config';

const conditions = ['telltale-source', 'node', 'import', 'default'];

/** What needs a real broker or a real agent CLI. */
const LIVE = ['test/kafka/**/*.test.ts', 'test/agents/**/*.test.ts', 'test/**/*.live.test.ts'];
/** What opens the embedded engine, starts processes, or simulates for long; it runs anywhere. */
const INTEGRATION = ['test/**/*.integration.test.ts'];

const TOGETHER = { isolate: false, maxWorkers: '100%', sequence: { groupOrder: 0 } };

/**
 * `graphql` is aliased to one file because vitest otherwise loads it twice (ESM and CommonJS) and
 * Pothos then fails with "another realm". `telltale-source` makes `#schemas` the TypeScript source.
 *
 * Unit and integration tests share a worker's modules: loading them anew for each file took as long
 * as the tests. So no module may keep what one test leaves for the next. They take every core, where
 * vitest leaves one free; live tests come after them one file at a time, since each is many
 * processes itself. `npm run check` runs the unit tests alone.
 */
export default defineConfig({
  resolve: { alias: { graphql: 'graphql/index.js' }, conditions },
  ssr: { resolve: { conditions } },
  test: {
    testTimeout: 30_000,
    hookTimeout: 120_000,
    setupFiles: ['test/properties.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...LIVE, ...INTEGRATION],
          ...TOGETHER,
        },
      },
      {
        extends: true,
        test: { name: 'integration', include: INTEGRATION, ...TOGETHER },
      },
      {
        extends: true,
        test: {
          name: 'live',
          include: LIVE,
          testTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
          globalSetup: ['test/kafka/global-setup.ts'],
        },
      },
    ],
  },
});
