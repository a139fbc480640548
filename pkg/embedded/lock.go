//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

const lockName = "seatwire.lock"

// dirLock is an exclusive flock on a file in the store directory. The kernel drops it when the process dies, however
// it dies, so there is no stale lock to clean up.
type dirLock struct {
	file *os.File
	once sync.Once
}

func lockDir(dir string) (*dirLock, error) {
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: lock store directory %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &InUseError{Dir: dir}
		}
		return nil, fmt.Errorf("embedded NATS server: lock store directory %s: %w", dir, err)
	}
	return &dirLock{file: f}, nil
}

func (l *dirLock) release() { l.once.Do(func() { l.file.Close() }) }

// InUseError says that another server, in this process or another, holds the store directory.
type InUseError struct{ Dir string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("store directory %s is in use by another seatwire process: stop that one, or set nats.storeDir to a directory of its own", e.Dir)
}
