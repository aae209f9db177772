// Checks manifests, a JSON list on standard input, against the published schemas of their kinds.
// Prints {"checked": ["Kind/name", …], "problems": ["Kind/name path: what is wrong", …]}.
import { text } from "node:stream/consumers";

// API versions whose schemas a package holds. Others are only known to crds.yaml.
const PACKAGES = {
  "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
  "external-secrets.io/v1": "@kubernetes-models/external-secrets/external-secrets.io/v1",
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};

const checked = [];
const problems = [];
for (const manifest of JSON.parse(await text(process.stdin))) {
  const name = PACKAGES[manifest.apiVersion];
  if (name === undefined) continue;
  const label = `${manifest.kind}/${manifest.metadata.name}`;
  const Model = (await import(name))[manifest.kind];
  if (Model === undefined) {
    problems.push(`${label}: ${manifest.apiVersion} has no ${manifest.kind}`);
    continue;
  }
  checked.push(label);
  try {
    new Model(manifest).validate();
  } catch (error) {
    problems.push(`${label} ${error.message}`);
  }
}
console.log(JSON.stringify({ checked, problems }));
