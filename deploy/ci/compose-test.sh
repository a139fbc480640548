#!/usr/bin/env bash
# docker-compose.yml on a container engine, with faults. Without an engine there is nothing to run it on.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! docker info > /dev/null 2>&1; then
  echo "compose-test: skipped, no container engine answers here"
  exit 0
fi
make images
# Static, since it also runs itself inside a container to read what NATS holds.
CGO_ENABLED=0 go test -count=1 -v -timeout 30m ./services/seatwire/composetest -compose
