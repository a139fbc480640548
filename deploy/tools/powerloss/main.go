// Command powerloss is a disk whose power fails on command: it mounts a directory that keeps its files in another one,
// and forgets what was written to them and never synced. The fault bench runs NATS servers on it.
//
//	powerloss MOUNTPOINT DIRECTORY
//
// It says "mounted" and then reads lines. Each line is a number, the seed of a power failure: half of them lose all that
// was not synced, the others leave a random beginning of it in each file. It answers "lost 1234 bytes of 5 files", and
// the caller has killed whoever wrote before. When its input ends it unmounts and exits.
//
// Names are never lost: a file that was created, renamed or removed stays so, as on a journalling file system that wrote
// its journal a moment before; a new file whose content was not synced is empty afterwards. Needs root and /dev/fuse.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("powerloss: ")
	if len(os.Args) != 3 {
		log.Fatal("usage: powerloss MOUNTPOINT DIRECTORY")
	}
	if err := run(os.Args[1], os.Args[2], os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(mountpoint, directory string, commands io.Reader, answers io.Writer) (err error) {
	root, err := fs.NewLoopbackRoot(directory)
	if err != nil {
		return err
	}
	d := &disk{files: map[uint64]*unsynced{}}
	// Straight to mount(2), without a fusermount program. Nothing is cached: names and sizes are asked for each time.
	options := &fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "powerloss", DisableReadDirPlus: true}}
	server, err := fs.Mount(mountpoint, &node{root.(*fs.LoopbackNode), d}, options)
	if err != nil {
		return fmt.Errorf("mount %s (root and /dev/fuse are needed): %w", mountpoint, err)
	}
	defer func() { err = errors.Join(err, server.Unmount()) }()
	fmt.Fprintln(answers, "mounted")
	return obey(d, commands, answers)
}

// obey lets the power fail at each line.
func obey(d *disk, commands io.Reader, answers io.Writer) error {
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		seed, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 64)
		if err != nil {
			return fmt.Errorf("a line is a power failure's seed, a number, not %q", lines.Text())
		}
		files, bytes, err := d.fail(rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			return err
		}
		fmt.Fprintf(answers, "lost %d bytes of %d files\n", bytes, files)
	}
	return lines.Err()
}
