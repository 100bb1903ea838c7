package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/units"
)

// Sizes of every peer's pool and volumes.
const (
	dataSize     = 8 * units.GiB
	metadataSize = 512 * units.MiB
	blockSize    = 64 * units.KiB
	volumeSize   = units.GiB
)

// peer is one way to drive a pool. The pool has an active volume, of which snapshots are
// taken.
type peer interface {
	name() string
	// fill brings the pool to so many volumes, in whatever way is fast.
	fill(ctx context.Context, volumes int) error
	// create makes a volume and leaves it inactive.
	create(ctx context.Context, volume string) error
	// snapshot takes a snapshot of the active origin, and activates it.
	snapshot(ctx context.Context, volume string) error
	// remove deactivates a volume, if it is active, and deletes it.
	remove(ctx context.Context, volume string) error
}

// fixture holds the state that the peers share: a directory on the scratch disk, the kernel.
type fixture struct {
	dir     string
	kernel  *dm.Control
	loops   *loopback.Control
	thinctl string // the program, "" if it was not built
}

// loop makes a file and a loop device on it, as thinctl does for its pools: data sparse,
// metadata with blocks.
func (f fixture) loop(ctx context.Context, name string, size units.Bytes, preallocate bool) (loopback.Device, error) {
	path := filepath.Join(f.dir, name)
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{Preallocate: preallocate}); err != nil {
		return loopback.Device{}, err
	}
	return f.loops.Attach(ctx, path, loopback.AttachOptions{})
}

// command runs a program; its output is part of the error.
func command(ctx context.Context, program string, args ...string) error {
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &errs, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, errs.Bytes())
	}
	return nil
}

func fillName(i int) string { return fmt.Sprintf("fill-%06d", i) }

// syncedFile is a small file that is overwritten and synced: the least that a program does
// to record a change.
type syncedFile struct {
	file *os.File
	page [4096]byte
}

func newSyncedFile(path string) (*syncedFile, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	s := &syncedFile{file: file}
	return s, s.note()
}

func (s *syncedFile) note() error {
	s.page[0]++
	if _, err := s.file.WriteAt(s.page[:], 0); err != nil {
		return err
	}
	return s.file.Sync()
}
