//go:build !linux

package faultbench

import "syscall"

// leash is Linux's; elsewhere children of a test binary that was killed have to be ended by hand.
func leash() *syscall.SysProcAttr { return nil }
