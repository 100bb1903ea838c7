package changes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/need"

	"golang.org/x/sys/unix"
)

func TestChangeInfo(t *testing.T) {
	need.Root(t)
	lower, upper := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(lower+"/dir", 0o755), os.Mkdir(upper+"/new", 0o700), os.Symlink("/target", upper+"/link"))
	must(t, os.Chmod(upper+"/new", 0o700|fs.ModeSetgid))
	write(t, lower+"/file", "was")
	write(t, upper+"/file", "is now")
	must(t, os.Link(upper+"/file", upper+"/twin"), os.Lchown(upper+"/file", 3, 4), os.Chmod(upper+"/file", 0o640|fs.ModeSetuid))
	when := time.Unix(1_700_000_000, 42)
	touch(t, upper+"/file", when)
	must(t, unix.Mknod(upper+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	var got []Change
	var total Total
	must(t, Walk(t.Context(), lower, upper, Options{}, func(c Change) error {
		got = append(got, c)
		total.Add(c)
		return nil
	}))
	byPath := map[string]Change{}
	for _, c := range got {
		byPath[c.Path] = c
		root := upper
		if c.Kind == Deleted {
			root = lower
		}
		info, err := os.Lstat(root + c.Path)
		must(t, err)
		if info.Mode() != c.Mode || info.Size() != int64(c.Size) || !info.ModTime().Equal(c.ModTime) || info.IsDir() != c.IsDir() {
			t.Errorf("got %+v, want %v", c, info)
		}
	}
	if c := byPath["/file"]; c.Kind != Modified || c.UID != 3 || c.GID != 4 || c.Links != 2 || c.Inode != byPath["/twin"].Inode || !c.ModTime.Equal(when) {
		t.Errorf("the file: got %+v", c)
	}
	if c := byPath["/dir"]; c.Kind != Deleted || !c.IsDir() {
		t.Errorf("the directory: got %+v, want it deleted", c)
	}
	if c := byPath["/null"]; c.Device != unix.Mkdev(1, 3) {
		t.Errorf("the device: got %+v, want 1:3", c)
	}
	// A link has the size of its target; a file with two names counts once.
	if total.Size != 6+7 || total.Added != 4 || total.Modified != 1 || total.Deleted != 1 {
		t.Errorf("got the total %+v, want 13 bytes, 4 added, 1 modified, 1 deleted", total)
	}
}

func TestExclude(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(upper+"/a/b", 0o755), os.MkdirAll(lower+"/a/c", 0o755), os.MkdirAll(upper+"/dev/pts", 0o755), os.Mkdir(lower+"/gone", 0o755))
	left := []string{"/a/b", "/a/c", "/dev", "/gone"}
	got, _ := walkLines(t, lower, upper, Options{Exclude: func(path string) bool {
		if strings.HasPrefix(path, "/dev/") {
			t.Errorf("got a call of Exclude for %s, below an excluded path", path)
		}
		return slices.Contains(left, path)
	}})
	wantLines(t, "all left out", got, nil)
}

func TestSameDirectory(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/a/b", 0o755))
	got, _ := walkLines(t, root, root, Options{})
	wantLines(t, "a directory and itself", got, nil)
}

func TestErrors(t *testing.T) {
	directory := t.TempDir()
	write(t, directory+"/file", "")
	for _, test := range []struct {
		lower, upper string
		want         error
		names        string
	}{
		{directory + "/absent", directory, fs.ErrNotExist, directory + "/absent"},
		{directory, directory + "/absent", fs.ErrNotExist, directory + "/absent"},
		{directory, directory + "/file", unix.ENOTDIR, directory + "/file"},
		{directory, "", fs.ErrNotExist, "open"},
	} {
		err := Walk(t.Context(), test.lower, test.upper, Options{}, func(Change) error { return nil })
		var typed *Error
		if !errors.Is(err, test.want) || !errors.As(err, &typed) || !strings.Contains(err.Error(), test.names) {
			t.Errorf("%q, %q: got %v, want %v", test.lower, test.upper, err, test.want)
		}
	}
	if err := failed("read", "/x", unix.EACCES); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_DAC_READ_SEARCH") {
		t.Error(err)
	}
	mine := errors.New("mine")
	visited := 0
	err := Walk(t.Context(), "", directory, Options{}, func(Change) error { visited++; return mine })
	if err != mine || visited != 1 { //nolint:errorlint // as it is
		t.Errorf("got %v after %d visits, want the visitor's error after one", err, visited)
	}
}

func TestCancel(t *testing.T) {
	upper := memory(t)
	for i := range 2000 {
		write(t, filepath.Join(upper, fmt.Sprint(i)), "")
	}
	for i := range 50 {
		must(t, os.MkdirAll(filepath.Join(upper, "d", fmt.Sprint(i), "e"), 0o755))
	}
	cause := errors.New("enough")
	never := func(c Change) error { t.Errorf("got the change %s, want none", c); return nil }

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := Walk(ctx, "", upper, Options{}, never); err != cause { //nolint:errorlint // as it is
		t.Errorf("before the walk: got %v, want %v", err, cause)
	}

	ctx, cancel = context.WithCancelCause(t.Context())
	asked := 0
	err := Walk(ctx, "", upper, Options{Workers: 1, Exclude: func(string) bool {
		if asked++; asked == 10 {
			cancel(cause)
		}
		return false
	}}, never)
	if err != cause || asked > 10+256 { //nolint:errorlint // as it is
		t.Errorf("during the walk: got %v after %d entries, want %v", err, asked, cause)
	}

	ctx, cancel = context.WithCancelCause(t.Context())
	visited := 0
	err = Walk(ctx, "", upper, Options{}, func(Change) error {
		visited++
		cancel(cause)
		return nil
	})
	if err != cause || visited != 1 { //nolint:errorlint // as it is
		t.Errorf("during the visits: got %v after %d, want %v after one", err, visited, cause)
	}
}

// A link in a path is not followed, with openat2 and without.
func TestOpenFollowsNoLink(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(root+"/a/b", 0o755), os.Mkdir(outside+"/b", 0o755), os.Symlink(outside, root+"/link"), os.Symlink("a", root+"/near"))
	tree, err := openTree(root)
	must(t, err)
	defer tree.close()
	for _, tree.stepwise = range []bool{false, true} {
		for _, path := range []string{"/link/b", "/link", "/near/b"} {
			if fd, err := tree.open(tree.root, path, unix.O_RDONLY); !vanished(err) {
				t.Errorf("%s: got descriptor %d, %v, want an error", path, fd, err)
			}
		}
		fd, err := tree.open(tree.root, "/a/b", unix.O_RDONLY)
		must(t, err, unix.Close(fd))
	}
}
