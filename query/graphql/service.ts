/** Yoga with our limits, compiled execution and masked errors. */
import { useGraphQlJit } from '@envelop/graphql-jit';
import { GraphQLError, parse } from 'graphql';
import { createYoga, type Plugin } from 'graphql-yoga';
import { QueryError } from '../errors.ts';
import { createLoads } from '../load.ts';
import { createRunner, type QueryDeps } from '../run.ts';
import type { Context } from './builder.ts';
import { requestCost, TOKENS_MAX } from './limits.ts';
import { schema } from './schema.ts';

const shown = (error: QueryError): GraphQLError =>
  new GraphQLError(error.message, { extensions: { code: error.code } });

function causeOf(error: unknown): unknown {
  let cause = error;
  while (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
  return cause;
}

/**
 * Limits: words of the document at parsing, its shape and cost before it runs. The cost is counted
 * with the variables as they are.
 */
function useLimits(): Plugin {
  return {
    onParse: ({ setParseFn }) => {
      setParseFn((source, options) => parse(source, { ...options, maxTokens: TOKENS_MAX }));
    },
    onExecute: ({ args, setResultAndStopExecution }) => {
      try {
        requestCost(args.schema, args.document, args.variableValues ?? {});
      } catch (error) {
        if (!(error instanceof QueryError)) throw error;
        setResultAndStopExecution({ errors: [shown(error)] });
      }
    },
  };
}

/** An error as a caller may see it: ours and GraphQL's own as they are, all others masked. */
function maskWith(deps: QueryDeps) {
  return (error: unknown): Error => {
    const cause = causeOf(error);
    const place = error instanceof GraphQLError ? error : undefined;
    const at = {
      ...(place?.nodes === undefined ? {} : { nodes: place.nodes }),
      ...(place?.path === undefined ? {} : { path: place.path }),
    };
    if (cause instanceof QueryError)
      return new GraphQLError(cause.message, { ...at, extensions: { code: cause.code } });
    if (cause instanceof GraphQLError) {
      const code = cause.extensions.code ?? 'BAD_USER_INPUT';
      return new GraphQLError(cause.message, { ...at, extensions: { code } });
    }
    deps.meter.count('query_errors_total', 1);
    deps.log.error('query.failed', {
      error: cause instanceof Error ? cause.message : String(cause),
    });
    return new GraphQLError('Unexpected error.', {
      ...at,
      extensions: { code: 'INTERNAL_SERVER_ERROR' },
    });
  };
}

/** The GraphQL service of one tenant. POST only; no page, no CORS, no batches, no uploads. */
export function createGraphQL(deps: QueryDeps) {
  return createYoga<object, Context>({
    schema,
    graphqlEndpoint: '/graphql',
    cors: false,
    graphiql: false,
    landingPage: false,
    multipart: false,
    logging: false,
    maskedErrors: { maskError: maskWith(deps) },
    context: ({ request }) => {
      const run = createRunner(deps, request.signal);
      return { run, loads: createLoads(run) };
    },
    plugins: [useLimits(), useGraphQlJit()],
  });
}
