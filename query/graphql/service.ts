/** Yoga with our limits, compiled execution and masked errors. */
import { useGraphQlJit } from '@envelop/graphql-jit';
import { GraphQLError, NoSchemaIntrospectionCustomRule, parse } from 'graphql';
import { createYoga, type Plugin } from 'graphql-yoga';
import type { Log, Meter } from '#schemas';
import type { Gate } from '../access/gate.ts';
import type { Passed } from '../access/guard.ts';
import { type ArgumentPolicy, describeOperation } from '../access/operation.ts';
import { createSlots } from '../access/slots.ts';
import { hasScope, needRole } from '../access/viewer.ts';
import type { Casework } from '../casework/book.ts';
import { MASKED_CODE, QueryError } from '../errors.ts';
import type { LiveHub } from '../live/hub.ts';
import { useSse } from '../live/sse.ts';
import { createLoads } from '../load.ts';
import type { SealedLog } from '../sealed.ts';
import type { Context } from './builder.ts';
import { checkTexts, examine, TOKENS_MAX } from './limits.ts';
import { usePageText } from './page-text.ts';
import { schema } from './schema.ts';

export interface GraphQLDeps {
  readonly gate: Gate;
  readonly log: Log;
  readonly meter: Meter;
  /** What the journal says of arguments. */
  readonly arguments: ArgumentPolicy;
  readonly introspection: boolean;
  readonly live: LiveHub;
  readonly casework: Casework;
  readonly sealed: SealedLog | undefined;
}

/** Live views that one viewer may have open. */
export const LIVE_PER_VIEWER_MAX = 8;

const shown = (error: QueryError): GraphQLError =>
  new GraphQLError(error.message, { extensions: { code: error.code } });

function causeOf(error: unknown): unknown {
  let cause = error;
  while (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
  return cause;
}

interface Args {
  readonly args: {
    readonly schema: typeof schema;
    readonly document: Parameters<typeof examine>[1];
    readonly variableValues?: Readonly<Record<string, unknown>> | null;
    readonly contextValue?: unknown;
  };
  readonly setResultAndStopExecution: (result: never) => void;
}

/**
 * Limits: words of the document at parsing, its shape, cost and roles before it runs, and what it
 * is for the journal. The cost is counted with the variables as they are.
 */
function useLimits(deps: GraphQLDeps): Plugin {
  const views = createSlots(LIVE_PER_VIEWER_MAX);
  function before({ args, setResultAndStopExecution }: Args): void {
    const { access, viewer } = args.contextValue as Passed;
    const variables = args.variableValues ?? {};
    access.describe(describeOperation(args.document, variables, deps.arguments));
    try {
      checkTexts(variables);
      const { cost, roles } = examine(args.schema, args.document, variables);
      access.describe({ details: { cost: String(Math.round(cost)) } });
      for (const [field, role] of roles) needRole(viewer, role, field);
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      setResultAndStopExecution({ errors: [shown(error)] } as never);
    }
  }
  return {
    onParse: ({ setParseFn }) => {
      setParseFn((source, options) => parse(source, { ...options, maxTokens: TOKENS_MAX }));
    },
    onValidate: ({ addValidationRule }) => {
      if (!deps.introspection) addValidationRule(NoSchemaIntrospectionCustomRule);
    },
    onExecute: (event) => before(event as never),
    onSubscribe: (event) => {
      const { viewer, after } = event.args.contextValue as unknown as Passed;
      before(event as never);
      const letGo = views.take(JSON.stringify([viewer.tenant, viewer.id]));
      if (letGo === undefined) {
        const what = `at most ${LIVE_PER_VIEWER_MAX} live views of one viewer`;
        event.setResultAndStopExecution({
          errors: [shown(new QueryError('RATE_LIMITED', what))],
        } as never);
      } else after.push(letGo);
    },
  };
}

const DENIED: ReadonlySet<unknown> = new Set(['FORBIDDEN', 'RATE_LIMITED']);

/** Tells the guard how an operation went, and the caller what was withheld. */
function useOutcome(): Plugin {
  return {
    onResultProcess: ({ result, serverContext }) => {
      const passed = serverContext as unknown as Passed;
      if (Array.isArray(result) || Symbol.asyncIterator in result) return;
      const codes = result.errors?.map(({ extensions }) => extensions?.code ?? MASKED_CODE) ?? [];
      if (codes.length > 0)
        passed.outcome = {
          outcome: codes.some((code) => DENIED.has(code)) ? 'denied' : 'failure',
          reason: [...new Set(codes)].join(' '),
        };
      if (hasScope(passed.viewer, 'content') || !('data' in result)) return;
      const reason = 'fields of content are blank: the scope content is missing';
      result.extensions = { ...result.extensions, withheld: { scope: 'content', reason } };
    },
  };
}

/** An error as a caller may see it: ours and GraphQL's own as they are, all others masked. */
function maskWith({ meter, log }: Pick<GraphQLDeps, 'meter' | 'log'>) {
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
      // Compiled execution makes errors without extensions.
      const code = (cause.extensions as { code?: unknown } | undefined)?.code ?? 'BAD_USER_INPUT';
      return new GraphQLError(cause.message, { ...at, extensions: { code } });
    }
    meter.count('telltale.query.errors', 1);
    log.error('query.failed', { error: cause instanceof Error ? cause.message : String(cause) });
    return new GraphQLError('Unexpected error.', { ...at, extensions: { code: MASKED_CODE } });
  };
}

/** The GraphQL service. POST only; no page, no CORS, no batches, no uploads. */
export function createGraphQL(deps: GraphQLDeps) {
  const mask = maskWith(deps);
  const sse = {
    mask,
    renew: (context: Context) => ({ ...context, loads: createLoads(context.run) }),
  };
  return createYoga<Passed, Context>({
    schema,
    graphqlEndpoint: '/graphql',
    cors: false,
    graphiql: false,
    landingPage: false,
    multipart: false,
    logging: false,
    maskedErrors: { maskError: mask },
    context: ({ run, viewer, signal, request }) => ({
      live: deps.live.views({
        signal,
        lastEventId: request.headers.get('last-event-id') ?? undefined,
      }),
      run,
      viewer,
      sealed: deps.sealed,
      loads: createLoads(run),
      annotate: (annotation) => deps.gate.annotate(viewer, annotation),
      casebook: deps.casework.open({
        run,
        viewer,
        annotate: (annotation) => deps.gate.annotate(viewer, annotation),
      }),
    }),
    plugins: [
      useLimits(deps),
      useOutcome(),
      useGraphQlJit(),
      usePageText(schema),
      useSse<Context>(sse),
    ],
  });
}
