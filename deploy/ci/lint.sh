#!/usr/bin/env bash
# golangci-lint works on one module at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "-- linters"
for m in $(go list -m -f '{{.Dir}}'); do
  (cd "$m" && "$OLDPWD/bin/golangci-lint" run --config "$OLDPWD/.golangci.yml" ./...)
done
(cd deploy/tools/powerloss && GOWORK=off "$OLDPWD/bin/golangci-lint" run --config "$OLDPWD/.golangci.yml" ./...)
