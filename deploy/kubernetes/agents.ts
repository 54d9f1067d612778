/**
 * An agent's pod with a collector, in two forms: `wrapper` (the agent's own container runs
 * `telltale run`, which ships) and `sidecar` (the container records to a folder, and another ships).
 * Both copy the collector into the pod, so that the agent's image needs nothing of it.
 */
import {
  authority,
  CA,
  CONTAINER_GUARDS,
  image,
  kafkaEnvironment,
  labels,
  type Manifest,
  POD_GUARDS,
  resources,
  SETTINGS,
  scratch,
  secret,
} from './pods.ts';

const TOOLS = '/telltale';
const SPOOL = '/var/lib/telltale';
const NODE = `${TOOLS}/node`;
const CLI = `${TOOLS}/app/dist/deploy/cli.js`;
const AGENT_IMAGE = 'example.invalid/agent:1.0.0';
const AGENT = ['codex', 'exec', 'mend the failing test'];
const tools = scratch('telltale', TOOLS, '512Mi');
const spool = scratch('spool', SPOOL, '256Mi');
const work = scratch('work', '/work', '2Gi');
const temporary = scratch('tmp', '/tmp', '256Mi');
const account = secret('kafka', 'telltale-kafka-collector');

const mountsOf = (list: readonly { name: string; at: string }[], fixed: readonly string[] = []) =>
  list.map(({ name, at }) => ({
    name,
    mountPath: at,
    ...(fixed.includes(name) ? { readOnly: true } : {}),
  }));

const copy = {
  name: 'copy-telltale',
  image: image('collector'),
  command: ['/bin/sh', '-c', `cp /usr/local/bin/node ${NODE} && cp -r /app ${TOOLS}/app`],
  resources: resources('50m', '64Mi', '1', '128Mi'),
  securityContext: CONTAINER_GUARDS,
  volumeMounts: mountsOf([tools]),
};

const environment = [
  { name: 'HOME', value: '/work' },
  { name: 'TELLTALE_SPOOL', value: SPOOL },
  { name: 'XDG_CACHE_HOME', value: '/tmp' },
];

const agentOf = (args: readonly string[], more: readonly object[], mounts: readonly object[]) => ({
  name: 'agent',
  image: AGENT_IMAGE,
  workingDir: '/work',
  // A recorder makes much that is short-lived: a small nursery keeps it some 30 MB smaller.
  command: [NODE, '--max-semi-space-size=4', CLI, 'run', ...args, '--', ...AGENT],
  env: [...environment, ...more],
  resources: resources('1', '1Gi', '4', '4Gi'),
  securityContext: CONTAINER_GUARDS,
  volumeMounts: mounts,
});

const FIXED = ['telltale', 'ca', 'kafka'];

function pod(
  name: string,
  spec: Readonly<Record<string, unknown>>,
  volumes: readonly { name: string; volume: object }[],
): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { ...labels('agent'), 'telltale.dev/recorded': 'true' } },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: POD_GUARDS,
      ...spec,
      volumes: volumes.map(({ name: of, volume }) => ({ name: of, ...volume })),
    },
  };
}

function wrapper(): Manifest {
  const mounts = [tools, spool, work, temporary, authority, account];
  const agent = agentOf(
    ['--to', 'kafka://$(KAFKA_BROKERS)', '--drain-ms', '60000'],
    kafkaEnvironment('collector'),
    mountsOf(mounts, FIXED),
  );
  // What it prints of the session comes after the agent has ended; it drains in that time.
  const spec = { terminationGracePeriodSeconds: 90, initContainers: [copy], containers: [agent] };
  return pod('agent-wrapper', spec, mounts);
}

function sidecar(): Manifest {
  const own = [tools, spool, work, temporary];
  const shipped = [tools, spool, temporary, authority, account];
  // Port 9 of loopback takes nothing: the session is left in the spool, whole.
  const agent = agentOf(
    ['--to', 'http://127.0.0.1:9', '--drain-ms', '0'],
    [],
    mountsOf(own, FIXED),
  );
  const collect = `${NODE} ${CLI} collect --to "kafka://$KAFKA_BROKERS" --wait-ms 60000`;
  const ship = {
    name: 'collector',
    image: image('collector'),
    // Each round takes the sessions that have ended; the last one comes with the pod's own end.
    command: [
      '/bin/sh',
      '-c',
      `trap '${collect}; exit' TERM; while :; do ${collect}; sleep 5 & wait; done`,
    ],
    restartPolicy: 'Always',
    env: [{ name: 'TELLTALE_SPOOL', value: SPOOL }, ...kafkaEnvironment('collector')],
    resources: resources('50m', '128Mi', '500m', '256Mi'),
    securityContext: CONTAINER_GUARDS,
    volumeMounts: mountsOf(shipped, FIXED),
  };
  const spec = {
    // The collector tells by its process whether a recorder still lives.
    shareProcessNamespace: true,
    terminationGracePeriodSeconds: 90,
    initContainers: [copy, ship],
    containers: [agent],
  };
  return pod('agent-sidecar', spec, [...own, authority, account]);
}

const settings: Manifest = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: SETTINGS },
  data: { 'kafka-brokers': 'telltale-kafka-bootstrap.kafka.svc:9093' },
};

const namespace: Manifest = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'agents', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
};

/** One pod of each form, in a namespace of their own. */
export const agentFiles = (): readonly Manifest[] => [namespace, settings, wrapper(), sidecar()];

/** What must be there before: made by others, named here. */
export const AGENT_NEEDS = { secrets: ['telltale-kafka-collector'], configMaps: [CA] } as const;
