#!/usr/bin/env bash
# Everything that attacks the system, for about CHAOS (a Go duration of hours, minutes and seconds) in all: random kills,
# each kill point and fault of the matrix, simulated histories, fuzzing. What has to strike once strikes, even if CHAOS
# is too short for it: then it takes longer. With an hour or more, each kill point strikes five times and each fault a
# tenth as often as in a night. SEED draws the faults of an earlier run again. At its end the fault bench reports each
# invariant, fault and kill point, of both its runs.
set -euo pipefail
cd "$(dirname "$0")/../.."

seed=${SEED:-0}
left=${CHAOS:-20m} seconds=0
while [[ $left =~ ^([0-9]+)([hms])(.*)$ ]]; do
  case ${BASH_REMATCH[2]} in h) unit=3600 ;; m) unit=60 ;; s) unit=1 ;; esac
  seconds=$((seconds + BASH_REMATCH[1] * unit)) left=${BASH_REMATCH[3]}
done
[ -z "$left" ] && [ "$seconds" -gt 0 ] || { echo "CHAOS=${CHAOS:-} is no duration such as 90s, 20m or 1h30m" >&2; exit 2; }
share() { echo "$((seconds * $1 / 100 + 1))s"; }

tally=$(mktemp)
trap 'rm -f "$tally"' EXIT
rm "$tally"
failed=0
bench() { # No time-out of go test's: the bench's own deadlines end whatever hangs, and say what it waited for.
  env CGO_ENABLED=0 go test -count=1 -v -timeout 0 ./services/seatwire/faultbench -seed="$seed" -tally="$tally" "$@" |
    { grep --line-buffered -avE '^=== |^ +--- PASS' || true; }
}
simulate() {
  env GOGC=400 go test -count=1 -v -timeout 0 -run 'TestSimulation$' "$1" -lasting="$(share 5)" -sim-seed="${SEED:-$RANDOM}" |
    grep -E 'histor|FAIL|I-[0-9]'
}

echo "-- simulated histories"
simulate ./services/deprovisioner || failed=1
simulate ./services/productiv-publisher || failed=1
echo "-- fuzzing"
FUZZTIME="$((seconds * 5 / 100 / 25 + 1))s" deploy/ci/fuzz.sh || failed=1
echo "-- fault bench: random kills, with 20,000 people and 100 events a second"
bench -run '^TestKill9' -chaos="$(share 40)" || failed=1 # alone, for they are timed
echo "-- fault bench: each kill point and each fault of the matrix"
bench -skip '^TestKill9' -chaos="$(share 45)" || failed=1
exit $failed
