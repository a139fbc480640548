package process

import "runtime/debug"

const (
	// gcPercent lets the heap grow to five times what is live before it is collected. A service holds a few
	// megabytes and makes garbage page by page: this costs some twenty megabytes and saves a third of the processor.
	gcPercent = 400
	// memoryLimit is where the collector works harder instead, in bytes: below the 256 MiB that a container is given.
	memoryLimit = 208 << 20
)

// tuneMemory sets the collector up, unless the environment does.
func tuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
