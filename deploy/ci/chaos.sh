#!/usr/bin/env bash
# The fault bench in its long form: real programs, kill -9, SIGSTOP, brokers that die, part or run full, vendors that go
# wrong, hostile events, judged by the simulators. CHAOS is how long the random kills go on at least (a Go duration);
# SEED draws the faults of an earlier run again. At its end it reports each invariant, fault and kill point.
set -euo pipefail
cd "$(dirname "$0")/../.."

chaos=${CHAOS:-5m}
seed=${SEED:-0}
echo "-- fault bench: $chaos of random kills with 20,000 people and 100 events a second, and each fault of the matrix"
# No time-out of go test's: the bench's own deadlines end whatever hangs, and say what it waited for.
env CGO_ENABLED=0 go test -count=1 -v -timeout 0 ./services/seatwire/faultbench -chaos="$chaos" -seed="$seed" |
  { grep --line-buffered -avE '^=== |^ +--- PASS|^[0-9/: ]+ (WARN|ERROR) nats server' || true; }
