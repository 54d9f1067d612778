/** Files of a session: which were touched, and every version of one path. */
import { badInput } from '../errors.ts';
import { PAGE_MAX } from '../plan.ts';
import type { FileHistory, FileVersion } from '../timeline/files.ts';
import { builder, costs } from './builder.ts';
import { AttributionRef } from './effects.ts';
import { pageBehind } from './listed.ts';
import { SessionRef } from './sessions.ts';
import { ANALYSIS_COST, OF_WHOLE } from './story.ts';

const VersionRef = builder.objectRef<FileVersion>('FileVersion').implement({
  description: 'One thing that happened to a file.',
  fields: (t) => ({
    eventId: t.exposeID('eventId'),
    at: t.field({ type: 'Time', resolve: ({ ns }) => ns }),
    op: t.exposeString('op', {
      description: 'create, write, rename …; claimed where only the agent says that it changed it.',
    }),
    path: t.exposeString('path'),
    otherPath: t.exposeString('otherPath', {
      nullable: true,
      description: 'Where it was renamed or linked to, or from.',
    }),
    sha256: t.exposeString('sha256', { nullable: true }),
    bytes: t.expose('bytes', { type: 'Long', nullable: true }),
    error: t.exposeString('error', { nullable: true }),
    changes: t.exposeBoolean('changes', { description: 'The content may be another afterwards.' }),
    seen: t.exposeBoolean('seen'),
    processId: t.exposeID('processId', { nullable: true }),
    attribution: t.field({ type: AttributionRef, resolve: ({ attribution }) => attribution }),
  }),
});

const FileHistoryRef = builder.objectRef<FileHistory>('FileHistory').implement({
  description: 'One file: what stood at a path until it was deleted or replaced.',
  fields: (t) => ({
    id: t.exposeID('id'),
    paths: t.stringList({
      description: 'All names that it had: renames and hard links.',
      resolve: ({ paths }) => paths,
    }),
    gone: t.exposeBoolean('gone', { description: 'Deleted or replaced by the end.' }),
    firstAt: t.field({ type: 'Time', resolve: ({ versions }) => versions[0]?.ns ?? '0' }),
    lastAt: t.field({ type: 'Time', resolve: ({ versions }) => versions.at(-1)?.ns ?? '0' }),
    versionCount: t.field({ type: 'Long', resolve: ({ versions }) => versions.length }),
    callIds: t.stringList({
      description: 'Calls that touched it.',
      resolve: ({ versions }) => [
        ...new Set(versions.flatMap(({ attribution }) => attribution.toolCallId ?? [])),
      ],
    }),
    versions: t.field({
      type: [VersionRef],
      description: `In order; at most \`first\` (${PAGE_MAX}), from the one behind \`after\` on.`,
      ...costs(1, 10),
      args: {
        first: t.arg.int(),
        after: t.arg.id({ description: 'The event of a version.' }),
      },
      resolve: ({ versions }, { first, after }) =>
        pageBehind(versions, ({ eventId }) => eventId, first, after),
    }),
  }),
});

const isUnder = (path: string, under: string): boolean =>
  under.endsWith('/') ? path.startsWith(under) : path === under;

builder.objectFields(SessionRef, (t) => ({
  touchedPaths: t.field({
    type: [FileHistoryRef],
    description: `Files by the first event; at most \`first\` (${PAGE_MAX}), from the one behind \`after\` on. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST, PAGE_MAX),
    args: {
      first: t.arg.int({ description: `At most ${PAGE_MAX}; as many where nothing is said.` }),
      after: t.arg.id({ description: 'A file’s id.' }),
      under: t.arg.string({ description: 'A path; with "/" at its end all below it.' }),
      outside: t.arg.string({
        description:
          'As `under`: only files that had a name elsewhere, such as out of a workspace.',
      }),
      changed: t.arg.boolean({ description: 'Only files of which some content changed.' }),
    },
    resolve: async ({ id }, { first, after, under, outside, changed }, { loads }) => {
      const { list } = (await loads.assessment(id)).files();
      const wanted = list.filter(
        (file) =>
          (!under || file.paths.some((path) => isUnder(path, under))) &&
          (!outside || file.paths.some((path) => !isUnder(path, outside))) &&
          (!changed || file.versions.some((version) => version.changes)),
      );
      return [...pageBehind(wanted, (file) => file.id, first, after)];
    },
  }),
  fileHistory: t.field({
    type: [FileHistoryRef],
    description: `What stood at a path, one after the other, each with its versions under every name. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST),
    args: { path: t.arg.string({ required: true, description: 'Absolute.' }) },
    resolve: async ({ id }, { path }, { loads }) => {
      if (!path.startsWith('/')) throw badInput('path: give an absolute path');
      return [...(await loads.assessment(id)).files().at(path)];
    },
  }),
}));
