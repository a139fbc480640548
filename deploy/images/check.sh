#!/usr/bin/env bash
# Builds every image a second time, from a copy of the sources and without a cache, and compares the layers.
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 tar -c | tar -x -C "$copy"
epoch=$(git log -1 --format=%ct)
SOURCE_DATE_EPOCH=$epoch TAG=again DOCKER_FLAGS=--no-cache make -C "$copy" images > /dev/null
layers() { docker image inspect -f '{{join .RootFS.Layers " "}}' "$1"; }
for program in "$@"; do
  [ "$(layers "seatwire/$program:local")" = "$(layers "seatwire/$program:again")" ] || { echo "seatwire/$program: two builds differ" >&2; exit 1; }
  docker image rm "seatwire/$program:again" > /dev/null
  echo "seatwire/$program: the same layers twice"
done
