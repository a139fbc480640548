#!/usr/bin/env bash
# The fault bench in its long form: real programs, kill -9, SIGSTOP, a broker that dies, judged by the simulators.
# CHAOS is how long the random faults go on (a Go duration); SEED draws those of an earlier run again.
set -euo pipefail
cd "$(dirname "$0")/../.."

chaos=${CHAOS:-5m}
seed=${SEED:-0}
echo "-- fault bench: $chaos of random faults, 20,000 people"
# No time-out of go test's: the bench's own deadlines end whatever hangs, and say what it waited for.
env CGO_ENABLED=0 go test -count=1 -v -timeout 0 ./services/seatwire/faultbench -chaos="$chaos" -seed="$seed" |
  { grep --line-buffered -vE '^=== |^ +--- PASS' || true; }
