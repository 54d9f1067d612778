/** Who may speak to whom: nothing by default, then one policy for each line of the drawing. */
import { HEALTH_PORT, labels, type Manifest } from './pods.ts';

const DNS = [
  { protocol: 'UDP', port: 53 },
  { protocol: 'TCP', port: 53 },
];
const named = (name: string) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } });
const inNamespace = (name: string) => ({ namespaceSelector: named(name) });
const tcp = (...ports: (number | string)[]) => ports.map((port) => ({ protocol: 'TCP', port }));

const policy = (name: string, spec: Readonly<Record<string, unknown>>): Manifest => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name },
  spec,
});

const ofComponents = (...components: readonly string[]) => ({
  matchLabels: { 'app.kubernetes.io/name': 'telltale' },
  matchExpressions: [
    { key: 'app.kubernetes.io/component', operator: 'In', values: [...components] },
  ],
});

const egress = (name: string, components: readonly string[], to: object, ports: object[]) =>
  policy(name, {
    podSelector: ofComponents(...components),
    policyTypes: ['Egress'],
    egress: [{ to: [to], ports }],
  });

/** Into one service, from the namespaces whose label says that they hold clients. */
const fromClients = (name: string, component: string) =>
  policy(name, {
    podSelector: { matchLabels: labels(component) },
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ namespaceSelector: { matchLabels: { 'telltale.dev/clients': 'true' } } }],
        ports: tcp('https'),
      },
    ],
  });

const WORKERS = ['ingest', 'ingest-fleet'];

/** The policies of the services. Namespaces of others are named by what they hold. */
export const networkPolicies = (): readonly Manifest[] => [
  policy('default-deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
  policy('dns', {
    podSelector: {},
    policyTypes: ['Egress'],
    egress: [
      {
        to: [
          {
            ...inNamespace('kube-system'),
            podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
          },
        ],
        ports: DNS,
      },
    ],
  }),
  egress('to-kafka', ['migrate', ...WORKERS], inNamespace('kafka'), tcp(9093)),
  egress(
    'to-clickhouse',
    ['migrate', 'retention', ...WORKERS, 'query', 'seal'],
    inNamespace('clickhouse'),
    tcp(8443),
  ),
  egress('to-alertmanager', WORKERS, inNamespace('monitoring'), tcp(9093)),
  fromClients('clients-to-query', 'query'),
  fromClients('verifiers-to-seal', 'seal'),
  policy('metrics', {
    podSelector: ofComponents(...WORKERS, 'query', 'seal'),
    policyTypes: ['Ingress'],
    ingress: [{ from: [inNamespace('monitoring')], ports: tcp(HEALTH_PORT) }],
  }),
];

/** Of a namespace of agents: to the brokers, and to the model over the public internet. */
export const agentPolicies = (): readonly Manifest[] => [
  policy('default-deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
  policy('agents', {
    podSelector: { matchLabels: { 'telltale.dev/recorded': 'true' } },
    policyTypes: ['Egress'],
    egress: [
      {
        to: [
          {
            ...inNamespace('kube-system'),
            podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
          },
        ],
        ports: DNS,
      },
      { to: [inNamespace('kafka')], ports: tcp(9093) },
      {
        to: [
          {
            ipBlock: {
              cidr: '0.0.0.0/0',
              // The metadata service of clouds, and all that is private.
              except: ['10.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16'],
            },
          },
        ],
        ports: tcp(443),
      },
    ],
  }),
];

export const witnessPolicies = (): readonly Manifest[] => [
  policy('default-deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
  policy('logs-to-witness', {
    podSelector: { matchLabels: labels('witness') },
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ ...inNamespace('telltale'), podSelector: { matchLabels: labels('seal') } }],
        ports: tcp('http'),
      },
    ],
  }),
];
