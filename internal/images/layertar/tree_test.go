package layertar

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/continuity/sysx"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// describe returns the properties of each file in a tree that a layer contains. Further
// names of a file have a reference to the first.
func describe(t testing.TB, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rel := "/" + strings.TrimPrefix(p[len(root):], "/")
		text := fmt.Sprintf("%v %d:%d mtime %d.%09d", info.Mode(), st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch {
		case info.Mode().IsRegular():
			sum, err := contents(p)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d bytes %s", st.Size, sum)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			text += " -> " + target
		case info.Mode()&fs.ModeDevice != 0:
			text += fmt.Sprintf(" device %x", st.Rdev)
		}
		if !d.IsDir() && st.Nlink > 1 {
			if _, met := first[st.Ino]; !met {
				first[st.Ino] = rel
			}
			text += " is " + first[st.Ino]
		}
		names, err := sysx.LListxattr(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			value, err := sysx.LGetxattr(p, name)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %s=%x", name, value)
		}
		found[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// setTime sets the modification time, and does not follow a symbolic link.
func setTime(full string, t time.Time) error {
	times := []unix.Timespec{timespec(t), timespec(t)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, full, times, unix.AT_SYMLINK_NOFOLLOW)
}

func contents(p string) (string, error) {
	f, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

func sameTree(t testing.TB, want, got string) {
	t.Helper()
	if diff := cmp.Diff(describe(t, want), describe(t, got)); diff != "" {
		t.Errorf("the tree differs (-want +got):\n%s", diff)
	}
}
