#!/usr/bin/env bash
# Every fuzz target for FUZZTIME (a Go duration), one at a time; what they found before runs in make test as plain tests.
# A failing input is written to testdata/fuzz of its package: mend the bug, and commit both. PACKAGES narrows the search.
set -euo pipefail
cd "$(dirname "$0")/../.."

fuzztime=${FUZZTIME:-20s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
# ended: go test takes its own end for a failure now and then, on a busy machine (golang/go#75804); it found nothing then.
ended() { [ "$(sed -n '/^--- FAIL/,/^FAIL$/p' "$log" | sed 1d)" = $'    context deadline exceeded\nFAIL' ]; }
printf '%-60s %12s %12s\n' target execs interesting
# shellcheck disable=SC2086 # PACKAGES is a list
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ${PACKAGES:-work}); do
  grep -qs '^func Fuzz' "$(go list -f '{{.Dir}}' "$package")"/*_test.go || continue
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz'); do
    verdict=
    # Minimising is bounded: a broker's own goroutines look like new coverage each time, and a minute would go to each.
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 100x "$package" >"$log" 2>&1 || ended || { verdict=FAILED; failed=1; }
    # The last line of progress: "fuzz: elapsed: 20s, execs: 70601 (0/sec), new interesting: 73 (total: 100)".
    read -r execs interesting < <(sed -nE 's/^fuzz: .* execs: ([0-9]+) .* new interesting: ([0-9]+) .*/\1 \2/p' "$log" | tail -1) || true
    printf '%-60s %12s %12s %s\n' "${package#*/seatwire/}.$target" "${execs:--}" "${interesting:--}" "$verdict"
    [ -z "$verdict" ] || sed 's/^/    /' "$log"
  done
done
exit $failed
