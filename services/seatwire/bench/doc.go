// Package bench measures the pipeline beside a plain program that does the same job in one loop, with no queue, no
// durability and no retries, against the same simulators on the same machine in the same run.
// Scale and Idle measure it beside itself: with more nodes, connections and replicas.
//
// Only ratios within one run mean anything. Nothing here passes or fails by time.
package bench
