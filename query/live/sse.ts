/**
 * Subscriptions over Server-Sent Events (WHATWG HTML, "Server-sent events"), in the form of
 * graphql-sse's "distinct connections":
 *
 *     id: CURSOR
 *     event: next
 *     data: {"data":…,"extensions":{"cursor":CURSOR}}
 *
 *     event: complete
 *     data:
 *
 * Yoga's own writer gives no `id`, so a browser could not say where it stopped. Nothing is read from
 * the view before the client has taken what was written (`pull`).
 *
 * Subscriptions are run here and not by graphql-jit: that hands a field the operation's variables in
 * place of its arguments. And each message gets a context of its own, because the loaders keep what
 * they loaded as long as their context lives.
 */
import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  type GraphQLError,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';

/** A comment so often while nothing comes, so that proxies keep the connection. */
const PING_MS = 12_000;

interface Message {
  readonly cursor: string;
}

const isIterable = (value: unknown): value is AsyncIterable<Message> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** Runs a subscription; `renew` gives the context of one message. */
async function subscribe(
  args: ExecutionArgs,
  renew: (context: unknown) => unknown,
): Promise<ExecutionResult | AsyncIterableIterator<ExecutionResult>> {
  const source = await createSourceEventStream(args as never);
  if (!isIterable(source)) return source as ExecutionResult;
  const iterator = source[Symbol.asyncIterator]();
  const results: AsyncIterableIterator<ExecutionResult> = {
    [Symbol.asyncIterator]: () => results,
    async next() {
      const { value, done } = await iterator.next();
      if (done) return { value: undefined, done: true };
      const result = await execute({
        ...args,
        rootValue: value,
        contextValue: renew(args.contextValue),
      });
      const { cursor } = value as Message;
      return { value: { ...result, extensions: { ...result.extensions, cursor } }, done: false };
    },
    async return() {
      await iterator.return?.();
      return { value: undefined, done: true };
    },
  };
  return results;
}

function textOf(result: ExecutionResult): string {
  const cursor = result.extensions?.cursor;
  const id = typeof cursor === 'string' ? `id: ${cursor}\n` : '';
  return `${id}event: next\ndata: ${JSON.stringify(result)}\n\n`;
}

async function* once(result: ExecutionResult): AsyncGenerator<ExecutionResult> {
  yield result;
}

const resultsOf = (result: unknown): AsyncIterable<ExecutionResult> =>
  isIterable(result)
    ? (result as unknown as AsyncIterable<ExecutionResult>)
    : once(result as ExecutionResult);

const COMPLETE = 'event: complete\ndata:\n\n';

function streamOf(
  results: AsyncIterator<ExecutionResult>,
  mask: (error: unknown) => Error,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let ping: NodeJS.Timeout | undefined;
  let gone = false;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const comment = encoder.encode(':\n\n');
      // At once as well: a client waits for the first byte.
      controller.enqueue(comment);
      ping = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(comment);
      }, PING_MS);
    },
    async pull(controller) {
      const end = (text: string) => {
        clearInterval(ping);
        if (gone) return;
        controller.enqueue(encoder.encode(text));
        controller.close();
      };
      try {
        const { value, done } = await results.next();
        if (done) end(COMPLETE);
        else if (!gone) controller.enqueue(encoder.encode(textOf(value)));
      } catch (error) {
        end(textOf({ errors: [mask(error) as GraphQLError] }) + COMPLETE);
      }
    },
    async cancel() {
      gone = true;
      clearInterval(ping);
      await results.return?.();
    },
  });
}

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
};

/** The plugin: subscriptions, and how their results are written. */
export function useSse<C extends object>(deps: {
  /** An error as a caller may see it. */
  readonly mask: (error: unknown) => Error;
  readonly renew: (context: C) => C;
}): Plugin {
  return {
    onSubscribe: ({ setSubscribeFn }) => {
      setSubscribeFn(((args: ExecutionArgs) =>
        subscribe(args, (context) => deps.renew(context as C))) as never);
    },
    onResultProcess: ({ request, result, setResultProcessor, acceptableMediaTypes }) => {
      acceptableMediaTypes.push('text/event-stream');
      const accepted = request.headers.get('accept') ?? '*/*';
      const asked = accepted.includes('text/event-stream');
      // What is no stream, such as an error before it began, is one message to who takes streams only.
      const wanted = isIterable(result)
        ? asked || accepted.includes('*/*')
        : asked && !accepted.includes('json');
      if (!wanted) return;
      const results = resultsOf(result)[Symbol.asyncIterator]();
      setResultProcessor(
        () => new Response(streamOf(results, deps.mask), { headers: HEADERS }) as never,
        'text/event-stream',
      );
    },
  };
}
