package faultbench

import (
	"strconv"
	"syscall"
)

// mount puts a file system in memory at dir, which only root can.
func mount(dir string, size int) (unmount func() error, err error) {
	err = syscall.Mount("faultbench", dir, "tmpfs", 0, "size="+strconv.Itoa(size))
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, err
}
