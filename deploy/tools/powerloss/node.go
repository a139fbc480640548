package main

import (
	"context"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or directory. What changes a file's content goes past the disk.
type node struct {
	*fs.LoopbackNode
	disk *disk
}

var (
	_ fs.NodeWrapChilder = (*node)(nil)
	_ fs.NodeOpener      = (*node)(nil)
	_ fs.NodeCreater     = (*node)(nil)
	_ fs.NodeSetattrer   = (*node)(nil)
)

func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.disk}
}

func (n *node) path() string { return filepath.Join(n.RootData.Path, n.Path(n.Root())) }

func (n *node) inode() uint64 { return n.StableAttr().Ino }

// Open opens past the kernel's cache, which would show what was lost.
func (n *node) Open(ctx context.Context, flags uint32) (opened fs.FileHandle, how uint32, errno syscall.Errno) {
	errno = n.truncate(flags&syscall.O_TRUNC != 0, 0, func() (errno syscall.Errno) {
		opened, _, errno = n.LoopbackNode.Open(ctx, flags)
		return errno
	})
	if errno != 0 {
		return nil, 0, errno
	}
	return handle(n, opened, flags), fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, opened, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return child, handle(child.Operations().(*node), opened, flags), fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if opened, ok := f.(*file); ok {
		f = opened.LoopbackFile
	}
	size, resized := in.GetSize()
	return n.truncate(resized, int64(size), func() syscall.Errno { return n.LoopbackNode.Setattr(ctx, f, in, out) })
}

// truncate does what may change the file's size, and past the disk if it does.
func (n *node) truncate(does bool, size int64, do func() syscall.Errno) (errno syscall.Errno) {
	if !does {
		return do()
	}
	if err := n.disk.truncate(n.inode(), n.path(), size, func() { errno = do() }); err != nil {
		return fs.ToErrno(err)
	}
	return errno
}

// file is one that is open.
type file struct {
	*fs.LoopbackFile
	node *node
	// synced says that it was opened so that each write is synced.
	synced bool
}

func handle(n *node, opened fs.FileHandle, flags uint32) *file {
	return &file{opened.(*fs.LoopbackFile), n, flags&syscall.O_DSYNC != 0} // a bit of O_SYNC as well
}

// PassthroughFd says that there is none: the kernel would write past the disk.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

func (f *file) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	err := f.node.disk.write(f.node.inode(), f.node.path(), off, off+int64(len(data)), func() {
		n, errno = f.LoopbackFile.Write(ctx, data, off)
	})
	if err != nil {
		return 0, fs.ToErrno(err)
	}
	if f.synced {
		f.node.disk.sync(f.node.inode())
	}
	return n, errno
}

func (f *file) Fsync(context.Context, uint32) syscall.Errno {
	f.node.disk.sync(f.node.inode())
	return 0
}

// Allocate is not there: whoever wants it gets on without.
func (f *file) Allocate(context.Context, uint64, uint64, uint32) syscall.Errno {
	return syscall.ENOTSUP
}
