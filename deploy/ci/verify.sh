#!/usr/bin/env bash
# What must hold of the tree besides the tests. Each line that fails says what to run.
set -euo pipefail
cd "$(dirname "$0")/../.."

modules=$(go list -m -f '{{.Dir}}')
fail() { echo "verify: $*" >&2; exit 1; }

echo "-- formatting"
unformatted=$(gofmt -l pkg services deploy)
[ -z "$unformatted" ] || fail "not formatted, run make fmt: $unformatted"

echo "-- modules: one go version, tidy, standing alone"
go_line=$(grep '^go ' go.work)
tested=$(mktemp)
trap 'rm -f "$tested"' EXIT
go list -m -f '{{if .Version}}{{.Path}} {{.Version}}{{end}}' all | sort > "$tested"
for m in $modules; do
  [ "$(grep '^go ' "$m/go.mod")" = "$go_line" ] || fail "$m/go.mod does not say '$go_line'"
  ! grep -q '^toolchain' "$m/go.mod" || fail "$m/go.mod names a toolchain"
  GOWORK=off go -C "$m" mod tidy -diff || fail "$m is not tidy, run make tidy"
  GOWORK=off go -C "$m" vet ./... || fail "$m does not stand alone"
  drift=$(GOWORK=off go -C "$m" list -deps \
    -f '{{with .Module}}{{if and .Version (not .Replace)}}{{.Path}} {{.Version}}{{end}}{{end}}' ./... |
    sort -u | comm -23 - "$tested")
  [ -z "$drift" ] || fail "$m alone builds other versions than the workspace, run make tidy: $drift"
done

echo "-- a tool of ours: tidy, tested"
GOWORK=off go -C deploy/tools/powerloss mod tidy -diff || fail "deploy/tools/powerloss is not tidy, run make tidy"
GOWORK=off go -C deploy/tools/powerloss test ./... || fail "deploy/tools/powerloss: its test failed"

echo "-- generated code"
before=$(git status --porcelain)
go generate work
[ "$before" = "$(git status --porcelain)" ] || fail "generated code was stale, commit what make generate wrote"

deploy/ci/lint.sh
deploy/ci/helm.sh
echo "verify: all good"
