/** The files of `deploy/kubernetes/`, all generated: `npm run gen`. */
import { stringify } from 'yaml';
import { agentFiles } from './agents.ts';
import { agentPolicies, networkPolicies, witnessPolicies } from './network.ts';
import { type Manifest, NAMESPACE } from './pods.ts';
import { horizontalPodAutoscaler, scaledObject } from './scale.ts';
import { retention, serviceFiles, witnessFiles } from './services.ts';

const FOLDER = 'deploy/kubernetes';
const LINE = '# Written by `npm run gen`; change it by an overlay (README.md).\n';

interface Kustomization {
  readonly kind?: 'Kustomization' | 'Component';
  readonly namespace?: string;
  readonly resources: readonly string[];
}

const yaml = (value: unknown) => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

function kustomization({ kind = 'Kustomization', namespace, resources }: Kustomization) {
  const apiVersion = `kustomize.config.k8s.io/v1${kind === 'Component' ? 'alpha1' : 'beta1'}`;
  return yaml({ apiVersion, kind, ...(namespace ? { namespace } : {}), resources });
}

const WITNESS_NAMESPACE: Manifest = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    name: 'telltale-witness',
    labels: { 'pod-security.kubernetes.io/enforce': 'restricted' },
  },
};
const WITNESS_ACCOUNT: Manifest = {
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name: 'telltale' },
  automountServiceAccountToken: false,
};

/** What stands in each folder: `base`, what may be added to it, and what runs elsewhere. */
export const FOLDERS: Readonly<
  Record<
    string,
    {
      readonly of: Pick<Kustomization, 'kind' | 'namespace'>;
      readonly files: Readonly<Record<string, readonly Manifest[]>>;
    }
  >
> = {
  base: { of: { namespace: NAMESPACE }, files: { ...serviceFiles(), network: networkPolicies() } },
  'components/hpa': { of: { kind: 'Component' }, files: { hpa: [horizontalPodAutoscaler()] } },
  'components/keda': { of: { kind: 'Component' }, files: { keda: scaledObject() } },
  'components/retention': { of: { kind: 'Component' }, files: { retention: [retention()] } },
  witness: {
    of: { namespace: 'telltale-witness' },
    files: {
      witness: [WITNESS_NAMESPACE, WITNESS_ACCOUNT, ...witnessFiles(), ...witnessPolicies()],
    },
  },
  agents: {
    of: { namespace: 'agents' },
    files: { agents: agentFiles(), network: agentPolicies() },
  },
};

/** Path (from the root of the project) and text of each. */
export function kubernetesFiles(): readonly { readonly path: string; readonly text: string }[] {
  return Object.entries(FOLDERS).flatMap(([folder, { of, files }]) => [
    ...Object.entries(files).map(([name, manifests]) => ({
      path: `${FOLDER}/${folder}/${name}.yaml`,
      text: LINE + manifests.map(yaml).join('---\n'),
    })),
    {
      path: `${FOLDER}/${folder}/kustomization.yaml`,
      text:
        LINE +
        kustomization({ ...of, resources: Object.keys(files).map((name) => `${name}.yaml`) }),
    },
  ]);
}
