#!/usr/bin/env bash
# Makes what docker-compose.yml mounts and git ignores: the NATS servers' configuration and certificates, a user for every
# program and publishing system, and the simulators' credentials in place of the vendors'. What exists is kept, so run it
# again after a change of seatwire.yaml. PUBLISHERS are the systems that may publish; name the same in docker-compose.yml.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${SEATWIRE_SECRETS:-deploy/compose/secrets}
umask 077
mkdir -p "$dir"

bin/seatwire nats config -config "${SEATWIRE_CONFIG:-deploy/compose/seatwire.yaml}" --dir "$dir" \
  $(printf -- '--publisher %s ' ${PUBLISHERS:-hr idp})

# Each node is shown its own files only.
for node in nats-1 nats-2 nats-3; do
  mkdir -p "$dir/$node/tls"
  ln -f "$dir/$node.conf" "$dir/accounts.conf" "$dir/jetstream-key.conf" "$dir/$node"
  ln -f "$dir/tls/ca.pem" "$dir/tls/$node.pem" "$dir/tls/$node.key" "$dir/$node/tls"
done

secret() { [ -e "$dir/$1" ] || printf '%s\n' "$2" > "$dir/$1"; }
secret acme-pluralsight demo-key
secret acme-productiv demo-secret

# Containers must be able to read all this, and are not root.
if [ "$(id -u)" = 0 ]; then
  chown -R 65532:65532 "$dir"
else
  grep -qs ^SEATWIRE_USER= .env || echo "SEATWIRE_USER=$(id -u):$(id -g)" >> .env
fi
