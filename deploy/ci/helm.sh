#!/usr/bin/env bash
# The chart: linted and rendered with each file of deploy/helm/ci; what comes out is validated as an API server would, by
# Kubernetes' OpenAPI schemas and the CRDs of KEDA, Prometheus's operator and NACK, and compared with the declared topology.
# Each file of deploy/helm/ci/refused must be refused, for the reason that it names.
set -euo pipefail
cd "$(dirname "$0")/../.."

chart=deploy/helm/seatwire
out=bin/chart
fail() { echo "helm: $*" >&2; exit 1; }

# The newest schemas that kubectl-validate has. Other people's CRDs are in their Go modules.
kubernetes=1.30
keda=github.com/kedacore/keda/v2@v2.21.0
operator=github.com/prometheus-operator/prometheus-operator@v0.85.0
module() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

echo "-- chart"
rm -rf $out
mkdir -p $out/crds
cp deploy/helm/crds/*.yaml "$(module $keda)/config/crd/bases/keda.sh_scaledobjects.yaml" $out/crds/
cp "$(module $operator)"/example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml $out/crds/

for values in deploy/helm/ci/*.yaml; do
  name=$(basename "$values")
  bin/helm lint --strict --quiet $chart -f "$values" || fail "$name does not pass helm lint"
  bin/helm template seatwire $chart -n seatwire -f "$values" > "$out/$name" || fail "$name does not render"
  bin/kubectl-validate --version $kubernetes --local-crds $out/crds "$out/$name" > "$out/$name.log" 2>&1 ||
    { cat "$out/$name.log" >&2; fail "Kubernetes refuses what $name renders"; }
  echo "$name: $(grep -c '^kind: ' "$out/$name") valid objects"
done

for values in deploy/helm/ci/refused/*.yaml; do
  want=$(sed -n 's/^# want: //p' "$values")
  ! said=$(bin/helm template seatwire $chart -f deploy/helm/ci/minimal.yaml -f "$values" 2>&1) || fail "$values is not refused"
  [[ $said == *"$want"* ]] || fail "$values is refused with: $said"
done

go test -count=1 ./services/seatwire/nack -run TestHelm -args -helm "$PWD/bin/helm"
