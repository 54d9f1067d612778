/** The schema, put together: each file adds its types to the one builder. */
import { type GraphQLSchema, printSchema } from 'graphql';
import { builder } from './builder.ts';
import './agents.ts';
import './alerts.ts';
import './approvals.ts';
import './casework.ts';
import './coverage.ts';
import './events.ts';
import './files.ts';
import './holds.ts';
import './live.ts';
import './network.ts';
import './search.ts';
import './search-activity.ts';
import './search-entities.ts';
import './sessions.ts';
import './story.ts';
import './streams.ts';
import './triage.ts';

export const schema: GraphQLSchema = builder.toSchema({ sortSchema: true });

/** The schema in GraphQL's own language, as committed in `schema.graphql`. */
export const printedSchema = (): string => `${printSchema(schema)}\n`;
