package ext4

import (
	"errors"
	"fmt"
	"os"
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

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// TestChanged has one directory for each kind of change. Only the paths that may differ
// are in the result.
func TestChanged(t *testing.T) {
	need.Loops(t)
	long := strings.Repeat("v", 900) // not in the inode
	var open []*os.File
	for _, args := range [][]string{{"-b", "4096"}, {"-b", "4096", "-O", "inline_data"}} {
		tests := []struct {
			name         string
			lower, upper func(d string) error
			want         []string
		}{
			{"nothing", touch("f"), nil, nil},
			{"access time", touch("f"), func(d string) error {
				return os.Chtimes(d+"/f", time.Unix(1_600_000_000, 1), time.Time{})
			}, []string{"/f"}}, // the change time differs too
			{"read", func(d string) error {
				return errors.Join(os.MkdirAll(d+"/a", 0o755), os.WriteFile(d+"/f", []byte(long), 0o644))
			},
				func(d string) error {
					_, err := os.ReadFile(d + "/f")
					_, err2 := os.ReadDir(d + "/a")
					return errors.Join(err, err2)
				}, nil},
			{"added", touch("f"), touch("new"), []string{"/new"}},
			{"added directory", touch("f"), func(d string) error {
				return errors.Join(os.MkdirAll(d+"/new/a", 0o755), os.WriteFile(d+"/new/a/f", nil, 0o644))
			}, []string{"/new"}},
			{"removed", touch("f"), func(d string) error { return os.Remove(d + "/f") }, []string{"/f"}},
			{"written", touch("f"), func(d string) error { return os.WriteFile(d+"/f", []byte(long), 0o644) }, []string{"/f"}},
			{"written in place", func(d string) error { return os.WriteFile(d+"/f", []byte(long), 0o644) }, func(d string) error {
				f, err := os.OpenFile(d+"/f", os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				_, err = f.WriteAt([]byte("w"), 5)
				return errors.Join(err, f.Close())
			}, []string{"/f"}},
			{"replaced in the same inode", touch("f"), func(d string) error {
				return errors.Join(os.Remove(d+"/f"), os.Symlink("x", d+"/f"))
			}, []string{"/f"}},
			{"mode of a directory", func(d string) error { return os.MkdirAll(d+"/a/b", 0o755) },
				func(d string) error { return os.Chmod(d+"/a", 0o700) }, []string{"/a"}},
			{"links in several directories", func(d string) error {
				return errors.Join(os.MkdirAll(d+"/a/b", 0o755), os.Mkdir(d+"/c", 0o755), touch("f")(d),
					os.Link(d+"/f", d+"/a/b/f"), os.Link(d+"/f", d+"/c/f"), os.Link(d+"/f", d+"/c/g"))
			}, func(d string) error { return os.Chmod(d+"/f", 0o600) }, []string{"/a/b/f", "/c/f", "/c/g", "/f"}},
			{"a link more", func(d string) error { return errors.Join(touch("f")(d), os.Mkdir(d+"/a", 0o755)) },
				func(d string) error { return os.Link(d+"/f", d+"/a/g") }, []string{"/a/g", "/f"}},
			{"moved directory", func(d string) error { return os.MkdirAll(d+"/a/b/c", 0o755) },
				func(d string) error { return os.Rename(d+"/a", d+"/z") }, []string{"/a", "/z"}},
			{"exchanged", func(d string) error { return os.MkdirAll(d+"/a/b", 0o755) }, func(d string) error {
				return errors.Join(os.WriteFile(d+"/c", nil, 0o644), unix.Renameat2(unix.AT_FDCWD, d+"/a", unix.AT_FDCWD, d+"/c", unix.RENAME_EXCHANGE))
			}, []string{"/a", "/c"}},
			{"long attribute", func(d string) error {
				return errors.Join(touch("f")(d), unix.Setxattr(d+"/f", "user.a", []byte(long), 0))
			}, func(d string) error {
				return unix.Setxattr(d+"/f", "user.a", []byte(strings.ToUpper(long)), 0)
			}, []string{"/f"}},
			{"removed while open", touch("f"), func(d string) error {
				f, err := os.Create(d + "/g")
				if err != nil {
					return err
				}
				open = append(open, f)
				return os.Remove(d + "/g")
			}, nil},
		}
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			lower := format(t, 64*units.MiB, args...)
			each := func(f func(i int, d string) error) func(string) {
				return func(root string) {
					for i, tt := range tests {
						must(t, f(i, filepath.Join(root, tt.name)))
					}
				}
			}
			change(t, lower, each(func(i int, d string) error {
				return errors.Join(os.Mkdir(d, 0o755), tests[i].lower(d))
			}))
			upper := clone(t, lower)
			m := mount(t, upper, filesystem.MountOptions{Options: []string{"strictatime"}})
			each(func(i int, d string) error {
				if tests[i].upper == nil {
					return nil
				}
				return tests[i].upper(d)
			})(m.root)
			must(t, filesystem.Freeze(t.Context(), m.root))
			snapshot := clone(t, upper)
			must(t, filesystem.Thaw(m.root))
			for _, f := range open {
				must(t, f.Close())
			}
			open = nil
			got, err := changedIn(t, lower, snapshot, slices.Values(blocks(t, lower, snapshot, never)))
			must(t, err)
			for _, tt := range tests {
				if below := paths(got[tt.name]); !slices.Equal(below, tt.want) {
					t.Errorf("%s: got %q, want %q", tt.name, below, tt.want)
				}
			}
			if len(got) > len(tests) {
				t.Errorf("got %q", paths(got))
			}
		})
	}
}

func touch(name string) func(d string) error {
	return func(d string) error { return os.WriteFile(filepath.Join(d, name), nil, 0o644) }
}

// TestFarLinks finds the names of a file in directories of other groups than its own.
func TestFarLinks(t *testing.T) {
	for _, args := range [][]string{{"-O", "^flex_bg"}, {"-G", "2"}, {"-G", "16"}} {
		lower := format(t, 64*units.MiB, append(args, "-b", "1024", "-g", "2048")...)
		var want []string
		groups := map[uint64]struct{}{}
		change(t, lower, func(root string) {
			must(t, os.Mkdir(root+"/own", 0o755), touch("f")(root+"/own"))
			for i := range 16 {
				path := fmt.Sprintf("/%02d", i)
				want = append(want, path+"/f")
				must(t, os.Mkdir(root+path, 0o755), os.Link(root+"/own/f", root+path+"/f"))
				var st unix.Stat_t
				must(t, unix.Stat(root+path, &st))
				groups[st.Ino/512] = struct{}{} // 32 groups of 512 inodes
			}
			must(t, os.Mkdir(root+"/own/later", 0o755), os.Link(root+"/own/f", root+"/own/later/f"))
		})
		want = append(want, "/own/f", "/own/later/f")
		if len(groups) < 4 {
			t.Errorf("%v: the directories are in %d groups, want 4 or more", args, len(groups))
		}
		upper := clone(t, lower)
		change(t, upper, func(root string) { must(t, os.Chmod(root+"/own/f", 0o600)) })
		got, err := changedIn(t, lower, upper, slices.Values(blocks(t, lower, upper, never)))
		must(t, err)
		if !slices.Equal(paths(got), want) {
			t.Errorf("%v: got %q, want %q", args, paths(got), want)
		}
	}
}

// A store through a shared mapping before a freeze does not hide one after it.
func TestSharedMapping(t *testing.T) {
	image := format(t, 32*units.MiB)
	m := mount(t, image, filesystem.MountOptions{})
	path := m.root + "/mapped"
	write(t, path, strings.Repeat("a", 4096))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	memory, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	defer unix.Munmap(memory)
	var snapshots []string
	for i := range byte(4) {
		memory[100] = 'A' + i
		must(t, filesystem.Freeze(t.Context(), m.root))
		snapshots = append(snapshots, clone(t, image))
		must(t, filesystem.Thaw(m.root))
		time.Sleep(20 * time.Millisecond) // a tick of the clock
	}
	for i, upper := range snapshots[1:] {
		got, err := changedIn(t, snapshots[i], upper, slices.Values(blocks(t, snapshots[i], upper, never)))
		must(t, err)
		if want := []string{"/mapped"}; !slices.Equal(paths(got), want) {
			t.Errorf("store %d: got %q, want %q", i, paths(got), want)
		}
	}
}

// TestFlat reads as much of a large file system as of a small one.
func TestFlat(t *testing.T) {
	need.Loops(t)
	edits := map[string]func(d string){
		"added":       func(d string) { write(t, d+"/added", "new") },
		"overwritten": func(d string) { write(t, d+"/file-9", "new") },
		"mode":        func(d string) { must(t, os.Chmod(d, 0o700)) },
	}
	read := map[string][]counter{}
	for _, directories := range []int{20, 1000} {
		lower := format(t, 1*units.GiB, "-b", "4096")
		change(t, lower, func(root string) {
			for d := range directories {
				directory := fmt.Sprintf("%s/%d/sub/%d", root, d%20, d)
				must(t, os.MkdirAll(directory, 0o755))
				for i := range 20 {
					must(t, touch(fmt.Sprintf("file-%d", i))(directory))
				}
			}
		})
		for name, edit := range edits {
			upper := clone(t, lower)
			change(t, upper, func(root string) { edit(root + "/7/sub/7") })
			var files [2]*os.File
			for i, path := range []string{lower, upper} {
				f, err := os.Open(path)
				must(t, err)
				defer f.Close()
				files[i] = f
			}
			var c counter
			_, err := Changed(t.Context(), c.from(files[0]), c.from(files[1]), slices.Values(blocks(t, lower, upper, never)))
			must(t, err)
			read[name] = append(read[name], c)
		}
	}
	for name, c := range read {
		t.Logf("%s: %+v", name, c)
		if c[1].bytes > c[0].bytes+256*int(units.KiB) || c[1].calls > c[0].calls+64 {
			t.Errorf("%s: got %+v with 50 times the files, want about %+v", name, c[1], c[0])
		}
	}
}
