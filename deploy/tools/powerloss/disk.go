package main

import (
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

// disk knows how to take back every change that was not synced. Files themselves hold what was written.
type disk struct {
	mu sync.Mutex
	// files are the changed ones by inode.
	files map[uint64]*unsynced
}

// unsynced are one file's changes since it was synced.
type unsynced struct {
	// file is open, so that it is found under any name and its inode is no other file's.
	file    *os.File
	changes []change
}

// change is what a file was before one.
type change struct {
	size int64
	// was are the bytes at an offset that are other now, or gone.
	at  int64
	was []byte
}

// write has do change a file: whatever is in [from, to) may be other afterwards.
func (d *disk) write(inode uint64, path string, from, to int64, do func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u, err := d.open(inode, path)
	if errors.Is(err, os.ErrNotExist) { // removed while somebody has it open: it is lost with whoever that is
		do()
		return nil
	}
	if err == nil {
		err = u.note(from, to)
	}
	if err == nil {
		do()
	}
	return err
}

// truncate has do change a file's size.
func (d *disk) truncate(inode uint64, path string, size int64, do func()) error {
	return d.write(inode, path, size, math.MaxInt64, do)
}

func (d *disk) open(inode uint64, path string) (*unsynced, error) {
	if u := d.files[inode]; u != nil {
		return u, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	d.files[inode] = &unsynced{file: file}
	return d.files[inode], nil
}

func (u *unsynced) note(from, to int64) error {
	info, err := u.file.Stat()
	if err != nil {
		return err
	}
	c := change{size: info.Size(), at: from}
	if n := min(to, c.size) - from; n > 0 {
		c.was = make([]byte, n)
		if _, err := u.file.ReadAt(c.was, from); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	u.changes = append(u.changes, c)
	return nil
}

// sync makes what a file holds last. The disk below need not know: it is never the one that loses power.
func (d *disk) sync(inode uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u := d.files[inode]; u != nil {
		_ = u.file.Close() // nothing was written by it
		delete(d.files, inode)
	}
}

// fail takes changes back, the newest first: half the time all of them, otherwise each file keeps some of the oldest.
func (d *disk) fail(rng *rand.Rand) (files int, bytes int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := rng.IntN(2) == 0
	for _, inode := range slices.Sorted(maps.Keys(d.files)) {
		u, kept := d.files[inode], 0
		if !all {
			kept = rng.IntN(len(u.changes) + 1)
		}
		lost, failed := u.takeBack(kept)
		if bytes += lost; lost > 0 {
			files++
		}
		err = errors.Join(err, failed, u.file.Close())
		delete(d.files, inode)
	}
	return files, bytes, err
}

// takeBack leaves the oldest changes, and says how many bytes others had written or removed.
func (u *unsynced) takeBack(kept int) (bytes int64, err error) {
	for _, c := range slices.Backward(u.changes[kept:]) {
		info, err := u.file.Stat()
		if err != nil {
			return bytes, err
		}
		bytes += int64(len(c.was)) + max(0, info.Size()-c.size)
		if _, err := u.file.WriteAt(c.was, c.at); err != nil {
			return bytes, err
		}
		if err := u.file.Truncate(c.size); err != nil {
			return bytes, err
		}
	}
	return bytes, nil
}
