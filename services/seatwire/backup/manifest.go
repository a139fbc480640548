package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	manifestFile = "manifest.json"
	format       = 1
)

// Manifest is what a backup says of itself.
type Manifest struct {
	Format int `json:"format"`
	// Started is when the first stream was copied: what was acknowledged before is in the backup.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Version and Revision are of the program that took it, Server is the broker's version.
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Server   string `json:"server"`
	// Connections were configured at that time. All of them are paused by a restore.
	Connections []string `json:"connections"`
	// Streams in the order in which they were copied.
	Streams []Stream `json:"streams"`
}

// Stream is one stream of a backup.
type Stream struct {
	Name string `json:"name"`
	File string `json:"file"`
	// SHA256 is of the file, in hex, and Bytes its size.
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	// Messages in the file, and the stream's first and last sequence.
	Messages uint64 `json:"messages"`
	FirstSeq uint64 `json:"firstSeq"`
	LastSeq  uint64 `json:"lastSeq"`
	// Consumers has, by name, the sequence up to which everything was acknowledged.
	Consumers map[string]uint64 `json:"consumers"`
	// Description is what the server is told at a restore.
	Description description `json:"description"`
}

func (s Stream) state() (state jetstream.StreamState, err error) {
	err = json.Unmarshal(s.Description.State, &state)
	return state, err
}

// Open reads a backup's manifest and checks every file against it.
func Open(dir string) (Manifest, error) {
	var m Manifest
	body, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%s is no backup: it has no %s", dir, manifestFile)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("the backup has format %d, this version reads %d", m.Format, format)
	}
	for _, s := range m.Streams {
		if err := s.check(dir); err != nil {
			return m, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return m, nil
}

func (s Stream) check(dir string) error {
	f, err := os.Open(filepath.Join(dir, filepath.Base(s.File)))
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != s.SHA256 {
		return fmt.Errorf("%s is not what was backed up: its sha256 is %s, the manifest says %s", s.File, sum, s.SHA256)
	}
	return nil
}

// stream returns the backup's copy of a stream.
func (m Manifest) stream(name string) (Stream, bool) {
	i := slices.IndexFunc(m.Streams, func(s Stream) bool { return s.Name == name })
	if i < 0 {
		return Stream{}, false
	}
	return m.Streams[i], true
}
