/**
 * GraphiQL, as Yoga has it: a page that asks this service from the browser. Its program comes from a
 * content delivery network, so it is served only where the operator has switched it on; the page
 * itself holds no data, and whoever uses it enters a token.
 */
import type { FastifyInstance } from 'fastify';
import { renderGraphiQL } from 'graphql-yoga';

const CDN = 'https://unpkg.com';
const POLICY = [
  "default-src 'none'",
  `script-src ${CDN} 'unsafe-inline' 'unsafe-eval' blob:`,
  `style-src ${CDN} 'unsafe-inline'`,
  `font-src ${CDN} data:`,
  `img-src ${CDN} data:`,
  `worker-src ${CDN} blob:`,
  `connect-src 'self' ${CDN}`,
  "frame-ancestors 'none'",
].join('; ');

/** Serves the page at `GET /graphql`. */
export function registerExplorer(app: FastifyInstance): void {
  const page = renderGraphiQL({
    title: 'Telltale',
    defaultQuery: '{\n  sessions(first: 10) { nodes { id agent host startedAt } }\n}\n',
    headers: '{ "authorization": "Bearer " }',
  });
  app.get('/graphql', (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', POLICY)
      .header('x-content-type-options', 'nosniff')
      .header('cache-control', 'no-store')
      .send(page),
  );
}
