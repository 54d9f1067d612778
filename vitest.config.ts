import { defineConfig } from 'vitest/config';

/**
 * `graphql` is aliased to one file because vitest otherwise loads it twice (ESM and CommonJS) and
 * Pothos then fails with "another realm". `telltale-source` makes `#schemas` the TypeScript source.
 */
export default defineConfig({
  resolve: {
    alias: { graphql: 'graphql/index.js' },
    conditions: ['telltale-source', 'node', 'import', 'default'],
  },
  ssr: { resolve: { conditions: ['telltale-source', 'node', 'import', 'default'] } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
