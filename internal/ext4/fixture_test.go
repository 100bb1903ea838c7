package ext4

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/internal/changes"
	"thinctl/internal/testkit/need"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// poolBlock is the block size of a thin pool, in which it records changes.
const poolBlock = 64 * units.KiB

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func program(t testing.TB, name string, args ...string) {
	t.Helper()
	output, err := exec.Command(need.Program(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, output)
	}
}

// format makes a file with an ext4 file system.
func format(t testing.TB, size units.Bytes, args ...string) (image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600), os.Truncate(image, int64(size)))
	program(t, "mkfs.ext4", append(append([]string{"-q", "-F"}, args...), image)...)
	return image
}

// clone copies an image, as a snapshot does.
func clone(t testing.TB, image string) string {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	program(t, "cp", "--sparse=always", image, clone)
	return clone
}

// mounted is a mounted image.
type mounted struct {
	t      testing.TB
	device *os.File
	root   string
}

// mount mounts an image. It is unmounted at the end of the test, or before by unmount.
func mount(t testing.TB, image string, o filesystem.MountOptions) *mounted {
	t.Helper()
	return mountOn(t, image, 0, o)
}

// mountOn is mount with a device that has flags of the kernel.
func mountOn(t testing.TB, image string, flags uint32, o filesystem.MountOptions) *mounted {
	t.Helper()
	m := &mounted{t: t, device: need.Loop(t, image, flags), root: filepath.Join(t.TempDir(), "root")}
	o.MakeTarget, o.Type = true, filesystem.Ext4
	must(t, filesystem.Mount(t.Context(), m.device.Name(), m.root, o))
	t.Cleanup(m.unmount)
	return m
}

func readOnly() filesystem.MountOptions {
	return filesystem.MountOptions{ReadOnly: true, NoRecovery: true, Options: []string{"noatime"}}
}

func (m *mounted) unmount() {
	m.t.Helper()
	err := unix.Unmount(m.root, unix.UMOUNT_NOFOLLOW)
	if err == nil {
		must(m.t, m.device.Sync(), m.device.Close())
	} else if !errors.Is(err, unix.EINVAL) { // unmounted before
		m.t.Errorf("unmount %s: %v", m.root, err)
	}
}

// change mounts an image, changes its tree, and unmounts it.
func change(t testing.TB, image string, f func(root string)) {
	t.Helper()
	m := mount(t, image, filesystem.MountOptions{})
	f(m.root)
	m.unmount()
}

// blocks returns the blocks of a pool in which two images differ, and those for which
// more returns true: a pool also reports blocks that were written with the same content.
func blocks(t testing.TB, lower, upper string, more func() bool) []Range {
	t.Helper()
	var files [2]*os.File
	var bufs [2][]byte
	for i, path := range []string{lower, upper} {
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		files[i], bufs[i] = f, make([]byte, poolBlock)
	}
	var all []Range
	for at := units.Bytes(0); ; at += poolBlock {
		var n [2]int
		for i, f := range files {
			var err error
			if n[i], err = f.ReadAt(bufs[i], int64(at)); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if n[0] == 0 && n[1] == 0 {
			return all
		}
		if !bytes.Equal(bufs[0][:n[0]], bufs[1][:n[1]]) || more() {
			all = append(all, Range{at, poolBlock})
		}
	}
}

func never() bool { return false }

// changedIn calls Changed for two images or devices.
func changedIn(t testing.TB, lower, upper string, changed iter.Seq[Range]) (changes.Names, error) {
	t.Helper()
	var files [2]*os.File
	for i, path := range []string{lower, upper} {
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		files[i] = f
	}
	return Changed(t.Context(), files[0], files[1], changed)
}

// walk returns the changes between two mounted trees.
func walk(t testing.TB, lower, upper string, o changes.Options) []changes.Change {
	t.Helper()
	var all []changes.Change
	o.SameOrigin = true
	must(t, changes.Walk(t.Context(), lower, upper, o, func(c changes.Change) error {
		all = append(all, c)
		return nil
	}))
	return all
}

func lines(all []changes.Change) []string {
	var lines []string
	for _, c := range all {
		lines = append(lines, c.String())
	}
	return lines
}

// paths returns the paths of a set, apart from those above others.
func paths(set changes.Names) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		below := paths(set[name])
		for _, path := range below {
			all = append(all, "/"+name+path)
		}
		if len(below) == 0 {
			all = append(all, "/"+name)
		}
	}
	return all
}
