#!/usr/bin/env bash
# The rates beside a plain program, the memory from 10,000 to 1,000,000 people, a take-over, and what nodes, connections and replicas change.
set -euo pipefail
cd "$(dirname "$0")/../.."
go build -o bin/bench ./services/seatwire/cmd/bench
bin/bench -people 100000
for people in 10000 100000 1000000; do
  bin/bench -people $people -skip-plain
done
bin/bench -intake 5000
bin/bench -takeover 30000
bin/bench -people 6000 -latency 150ms -modes reconcile
bin/bench -scale 1000 -people 10000
for connections in 1 10 100 1000; do
  bin/bench -idle $connections -replicas 2
done
