package changes

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// twins are two mounted copies of one file system, like two thin snapshots: each inode
// has the same number and times in both. fill makes the contents.
type twins struct{ lower, upper string }

func newTwins(t testing.TB, kind filesystem.Type, size units.Bytes, fill func(root string)) twins {
	t.Helper()
	need.Program(t, "mkfs."+string(kind))
	directory := t.TempDir()
	lower, upper := filepath.Join(directory, "lower.img"), filepath.Join(directory, "upper.img")
	if err := errors.Join(os.WriteFile(lower, nil, 0o600), os.Truncate(lower, int64(size))); err != nil {
		t.Fatal(err)
	}
	device := attach(t, lower)
	if err := filesystem.Format(t.Context(), device, filesystem.FormatOptions{Type: kind}); err != nil {
		t.Fatal(err)
	}
	root := mount(t, device, filepath.Join(directory, "origin"))
	fill(root)
	if err := filesystem.Unmount(t.Context(), root, filesystem.UnmountOptions{}); err != nil {
		t.Fatal(err)
	}
	run(t, "sync", device)
	run(t, "cp", "--sparse=always", lower, upper)
	return twins{
		lower: mount(t, device, filepath.Join(directory, "lower")),
		upper: mount(t, attach(t, upper), filepath.Join(directory, "upper")),
	}
}

func attach(t testing.TB, file string) string {
	t.Helper()
	need.Loops(t)
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", file))
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })
	return device
}

func mount(t testing.TB, device, target string) string {
	t.Helper()
	if err := filesystem.Mount(t.Context(), device, target, filesystem.MountOptions{MakeTarget: true}); err != nil {
		t.Fatal(err)
	}
	unmountAfter(t, target)
	return target
}

// memory returns a directory in memory, in which files are made fast.
func memory(t testing.TB) string {
	t.Helper()
	need.Root(t)
	directory := t.TempDir()
	must(t, unix.Mount("none", directory, "tmpfs", 0, "mode=755"))
	unmountAfter(t, directory)
	return directory
}

func unmountAfter(t testing.TB, target string) {
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("cleaning up %s: %v", target, err)
		}
	})
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// walkLines returns the changes of Walk as lines, and their total.
func walkLines(t testing.TB, lower, upper string, o Options) ([]string, Total) {
	t.Helper()
	var lines []string
	var total Total
	err := Walk(t.Context(), lower, upper, o, func(c Change) error {
		lines = append(lines, c.String())
		total.Add(c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, total
}

func wantLines(t testing.TB, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("%s:\ngot\n  %q\nwant\n  %q", what, got, want)
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// touch sets both times of path, which may be a link.
func touch(t testing.TB, path string, when time.Time) {
	t.Helper()
	ts := unix.NsecToTimespec(when.UnixNano())
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}
