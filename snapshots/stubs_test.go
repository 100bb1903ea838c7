package snapshots

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tree makes what an image holds: folders end with /, links are "name -> to",
// files hold "image's own".
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
		there   []string // below root
		own     []string // the image's, untouched
		absent  []string
	}{
		{name: "empty", there: []string{"dev/pts", "dev/shm", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console", ".dockerenv", "etc/mtab"}},
		{name: "what is there stays", entries: [][2]string{{"etc", "dir"}, {"etc/hosts", "file"}, {"etc/mtab", "file"}},
			own: []string{"etc/hosts", "etc/mtab"}, there: []string{"etc/hostname"}},
		{name: "a link inside", entries: [][2]string{{"usr/etc", "dir"}, {"etc", "usr/etc"}}, there: []string{"usr/etc/hosts"}},
		{name: "an absolute link begins at the root", entries: [][2]string{{"usr/etc", "dir"}, {"etc", "/usr/etc"}}, there: []string{"usr/etc/hosts"}},
		{name: "an absolute link to what is missing", entries: [][2]string{{"etc", "/run/etc"}}, there: []string{"run/etc/hosts"}},
		{name: "a link above the root ends at it", entries: [][2]string{{"etc", "../../outside"}}, there: []string{"outside/hosts"}},
		{name: "a link in a circle", entries: [][2]string{{"etc", "etc"}}, absent: []string{"etc/hosts"}, there: []string{"dev/pts"}},
		{name: "a file in the way", entries: [][2]string{{"etc", "file"}}, own: []string{"etc"}, there: []string{"dev/pts"}},
		{name: "a last name that is a link stays", entries: [][2]string{{"etc", "dir"}, {"etc/hosts", "/../../outside"}}, absent: []string{"../outside", "outside"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t, c.entries...)
			if err := putStubs(root); err != nil {
				t.Fatal(err)
			}
			for _, path := range c.there {
				info, err := os.Lstat(filepath.Join(root, path))
				if err != nil {
					t.Error(err)
				} else if info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm() != 0o755 {
					t.Errorf("%s is %s", path, info.Mode())
				}
			}
			for _, path := range c.own {
				got, err := os.ReadFile(filepath.Join(root, path))
				if err != nil || string(got) != "image's own" {
					t.Errorf("%s holds %q, %v", path, got, err)
				}
			}
			for _, path := range c.absent {
				if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
					t.Errorf("%s is there", path)
				}
			}
			outside, err := os.ReadDir(filepath.Dir(root))
			if err != nil || len(outside) != 1 {
				t.Errorf("outside of the root: %v, %v", outside, err)
			}
			again := putStubs(root)
			if again != nil && !errors.Is(again, errBlocked) {
				t.Error(again)
			}
		})
	}
}
