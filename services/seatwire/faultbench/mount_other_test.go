//go:build !linux

package faultbench

import "errors"

// mount is Linux's.
func mount(string, int) (unmount func() error, err error) { return nil, errors.ErrUnsupported }
