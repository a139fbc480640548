package faultbench

import "syscall"

// leash kills a child when this process dies before it could: a test binary that ran out of time cleans nothing up.
func leash() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
