package loopback

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/internal/errno"
)

const deletedMark = " (deleted)"

// Find implements Loops.
func (c *Control) Find(ctx context.Context, file string) ([]Device, error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	found, err := c.find(ctx, file)
	return found, withOp("find", file, err)
}

func (c *Control) find(ctx context.Context, file string) ([]Device, error) {
	var st unix.Stat_t
	err := unix.Stat(file, &st)
	if err == nil {
		return c.backedBy(ctx, file, statID(&st))
	}
	if !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	deleted, err := canonical(file)
	if err != nil {
		return nil, err
	}
	return c.devices(ctx, func(index int, st *unix.LoopInfo64) bool {
		return c.backingPath(index, st) == deleted+deletedMark
	})
}

// backedBy returns the devices whose backing file is the file id.
func (c *Control) backedBy(ctx context.Context, file string, id FileID) ([]Device, error) {
	found, err := c.devices(ctx, func(_ int, st *unix.LoopInfo64) bool { return identity(st) == id })
	for i := range found {
		found[i].File = file
	}
	return found, err
}

func (c *Control) devices(ctx context.Context, which match) ([]Device, error) {
	all, err := c.list(ctx, which)
	var found []Device
	for _, info := range all {
		found = append(found, info.Device)
	}
	return found, err
}

// match selects devices. It gets only what is cheap to read, because every Attach
// checks all devices.
type match func(index int, st *unix.LoopInfo64) bool

// List returns every attached loop device of the host, by index. It also finds the
// devices that a killed process has left.
func (c *Control) List(ctx context.Context) ([]Info, error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	all, err := c.list(ctx, func(int, *unix.LoopInfo64) bool { return true })
	return all, withOp("list", filepath.Join(c.sys, "block"), err)
}

func (c *Control) list(ctx context.Context, which match) ([]Info, error) {
	entries, err := os.ReadDir(filepath.Join(c.sys, "block"))
	if err != nil {
		return nil, err
	}
	var indexes []int
	for _, e := range entries {
		index, err := indexOf(e.Name())
		if err != nil {
			continue
		}
		// The kernel creates this directory before it attaches a file, and removes it
		// after detaching (drivers/block/loop.c, loop_sysfs_init).
		if _, err := os.Stat(filepath.Join(c.sysfs(index), "loop")); err == nil {
			indexes = append(indexes, index)
		}
	}
	slices.Sort(indexes)
	var all []Info
	for _, index := range indexes {
		info, matched, err := c.inspect(ctx, index, which)
		switch {
		case errno.Is(err, unix.ENXIO, unix.ENOENT, unix.ENODEV):
			continue // detached or removed concurrently
		case err != nil:
			return nil, err
		case matched:
			all = append(all, info)
		}
	}
	return all, nil
}

func (c *Control) inspect(ctx context.Context, index int, which match) (Info, bool, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, false, err
	}
	path := filepath.Join(c.dev, "loop"+strconv.Itoa(index))
	err := c.checkNode(path, index)
	if errors.Is(err, os.ErrNotExist) {
		err = c.makeNode(path, index)
	}
	if err != nil {
		return Info{}, false, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Info{}, false, err
	}
	defer f.Close()
	st, err := status(f)
	if err != nil || !which(index, st) {
		return Info{}, false, err
	}
	info, err := c.describe(f, index, st)
	return info, true, err
}

// canonical returns the path that the kernel has for a deleted file.
func canonical(file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return abs, nil // the directory is deleted too
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}

// backingPath returns the path in sysfs, which follows renames. Without it, it
// returns the name in LOOP_GET_STATUS64: the first 63 bytes of the path that the
// attaching process wrote.
func (c *Control) backingPath(index int, st *unix.LoopInfo64) string {
	text, err := os.ReadFile(filepath.Join(c.sysfs(index), "loop", "backing_file"))
	if err != nil || len(text) == 0 {
		return unix.ByteSliceToString(st.File_name[:])
	}
	return strings.TrimSuffix(string(text), "\n")
}
