#!/usr/bin/env bash
# The rates beside a plain program, and the memory from 10,000 to 1,000,000 people.
set -euo pipefail
cd "$(dirname "$0")/../.."
go build -o bin/bench ./services/seatwire/cmd/bench
bin/bench -people 100000
for people in 10000 100000 1000000; do
  bin/bench -people $people -skip-plain
done
bin/bench -intake 5000
bin/bench -people 6000 -latency 150ms -modes reconcile
