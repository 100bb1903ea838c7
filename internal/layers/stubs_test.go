package layers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tree makes the root of an image. An entry is a path and its kind: "dir", "file" (which holds "image's own"), or the
// target of a link.
func tree(t *testing.T, entries ...[2]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(root, 0o755))
	for _, e := range entries {
		path := filepath.Join(root, e[0])
		switch e[1] {
		case "dir":
			must(os.MkdirAll(path, 0o755))
		case "file":
			must(os.WriteFile(path, []byte("image's own"), 0o600))
		default:
			must(os.Symlink(e[1], path))
		}
	}
	return root
}

func TestStubs(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries [][2]string
		present []string // below root
		own     []string // files of the image, unchanged
		absent  []string
	}{
		{name: "empty", present: []string{"dev/pts", "dev/shm", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console", ".dockerenv", "etc/mtab"}},
		{name: "existing files stay", entries: [][2]string{{"etc", "dir"}, {"etc/hosts", "file"}, {"etc/mtab", "file"}},
			own: []string{"etc/hosts", "etc/mtab"}, present: []string{"etc/hostname"}},
		{name: "a link inside", entries: [][2]string{{"usr/etc", "dir"}, {"etc", "usr/etc"}}, present: []string{"usr/etc/hosts"}},
		{name: "an absolute link begins at the root", entries: [][2]string{{"usr/etc", "dir"}, {"etc", "/usr/etc"}}, present: []string{"usr/etc/hosts"}},
		{name: "an absolute link to a missing directory", entries: [][2]string{{"etc", "/run/etc"}}, present: []string{"run/etc/hosts"}},
		{name: "a link above the root ends at it", entries: [][2]string{{"etc", "../../outside"}}, present: []string{"outside/hosts"}},
		{name: "a link to itself", entries: [][2]string{{"etc", "etc"}}, absent: []string{"etc/hosts"}, present: []string{"dev/pts"}},
		{name: "a file instead of a directory", entries: [][2]string{{"etc", "file"}}, own: []string{"etc"}, present: []string{"dev/pts"}},
		{name: "a last name that is a link stays", entries: [][2]string{{"etc", "dir"}, {"etc/hosts", "/../../outside"}}, absent: []string{"../outside", "outside"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t, c.entries...)
			if err := putStubs(root); err != nil {
				t.Fatal(err)
			}
			for _, path := range c.present {
				info, err := os.Lstat(filepath.Join(root, path))
				if err != nil {
					t.Error(err)
				} else if info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm() != 0o755 {
					t.Errorf("%s: got mode %s, want 0755", path, info.Mode())
				}
			}
			for _, path := range c.own {
				got, err := os.ReadFile(filepath.Join(root, path))
				if err != nil || string(got) != "image's own" {
					t.Errorf("%s: got %q, error %v, want the image's own", path, got, err)
				}
			}
			for _, path := range c.absent {
				if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
					t.Errorf("%s: got it, want it absent", path)
				}
			}
			outside, err := os.ReadDir(filepath.Dir(root))
			if err != nil || len(outside) != 1 {
				t.Errorf("outside the root: got %v, error %v, want only the root", outside, err)
			}
			again := putStubs(root)
			if again != nil && !errors.Is(again, errBlocked) {
				t.Errorf("second time: got error %v, want none or %v", again, errBlocked)
			}
		})
	}
}
