#!/usr/bin/env bash
# Packs binaries from bin/ into images seatwire/PROGRAM:VERSION and :local, and writes an SBOM of each to bin/sbom.
# Every file gets the commit's time, so equal sources make equal layers. Nothing is pulled. DOCKER_FLAGS go to docker build.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${VERSION:?}" "${REVISION:?}"
tag=${TAG:-local}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

context=bin/images
rm -rf $context
mkdir -p $context bin/sbom

# base: what a program without an operating system needs. The root certificates and time zones are Go's own.
base=$context/base
install -D -m 755 bin/probe $base/probe
install -D -m 644 "$(go env GOROOT)/lib/time/zoneinfo.zip" $base/usr/share/zoneinfo.zip
mkdir -p $base/etc/ssl/certs
GOWORK=off go -C deploy/tools run ./cacerts > $base/etc/ssl/certs/ca-certificates.crt

for program in "$@"; do
  dir=$context/$program
  install -D -m 755 "bin/$program" "$dir/program"
  version=$VERSION
  if [ "$program" = nats-server ]; then
    version=$(go list -m -f '{{.Version}}' github.com/nats-io/nats-server/v2)
    install -d -m 1777 "$dir/data" # a new volume takes its owner and mode from here
  fi
  bin/cyclonedx-gomod bin -json -std -noserial -notimestamp -version "$version" -output "$dir/sbom.json" "bin/$program" 2>/dev/null
  cp "$dir/sbom.json" "bin/sbom/$program.json"
done
find $context -exec env TZ=UTC touch -h -d "@$epoch" {} +
cp deploy/images/Dockerfile $context

for program in "$@"; do
  said=$(tar -c -C $context Dockerfile base "$program" |
    docker build ${DOCKER_FLAGS:-} --build-arg SERVICE="$program" --build-arg VERSION="$VERSION" --build-arg REVISION="$REVISION" \
      -t "seatwire/$program:$VERSION" -t "seatwire/$program:$tag" - 2>&1) || { echo "$said" >&2; exit 1; }
  docker image inspect -f '{{.Size}}' "seatwire/$program:$tag" |
    awk -v image="seatwire/$program:$VERSION" '{printf "%-48s %5.1f MB\n", image, $1/1e6}'
done
