// Package composetest runs docker-compose.yml on the container engine of this machine: the demo's story to its end, and
// then work in whose middle a NATS node or a replica of each service is killed, or cut off from NATS. The simulators judge:
// both lists are equal, each request has exactly one outcome, and nothing happened twice. make compose-test runs it.
package composetest
