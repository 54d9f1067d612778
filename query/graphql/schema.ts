/** The schema, put together: each file adds its types to the one builder. */
import { type GraphQLSchema, printSchema } from 'graphql';
import { builder } from './builder.ts';
import './alerts.ts';
import './casework.ts';
import './events.ts';
import './live.ts';
import './sessions.ts';
import './story.ts';
import './streams.ts';

export const schema: GraphQLSchema = builder.toSchema({ sortSchema: true });

/** The schema in GraphQL's own language, as committed in `schema.graphql`. */
export const printedSchema = (): string => `${printSchema(schema)}\n`;
