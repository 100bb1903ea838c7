package changes

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// TestKinds compares the changes of each kind with Docker's and, if they differ, with
// those of Exact.
func TestKinds(t *testing.T) {
	whole := time.Unix(1_600_000_000, 0)
	fraction := whole.Add(123456789)
	// A revision 2 capability set, struct vfs_cap_data of linux/capability.h:
	// permitted net_raw.
	raw := []byte{0, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	type test struct {
		name   string
		lower  func(t *testing.T, d string)
		upper  func(t *testing.T, d string)
		want   []string
		exact  []string // nil: as want
		copied bool     // copy the lower tree's directory into the upper tree, with cp -a
	}
	file := func(t *testing.T, d string) { write(t, d+"/f", "old"); touch(t, d+"/f", fraction) }
	tests := []test{
		{name: "nothing", lower: file, upper: func(*testing.T, string) {}},
		{name: "content", lower: file, upper: func(t *testing.T, d string) { write(t, d+"/f", "newer") }, want: []string{"C /f"}},
		{name: "same size, other time", lower: file, upper: func(t *testing.T, d string) { write(t, d+"/f", "new") }, want: []string{"C /f"}},
		{name: "same size and time", lower: file, upper: func(t *testing.T, d string) { write(t, d+"/f", "new"); touch(t, d+"/f", fraction) }, exact: []string{"C /f"}},
		{name: "the same written again", lower: file, upper: func(t *testing.T, d string) { write(t, d+"/f", "old"); touch(t, d+"/f", fraction) }},
		{name: "times only", lower: file, upper: func(t *testing.T, d string) { touch(t, d+"/f", whole.Add(5*time.Second)) }, want: []string{"C /f"}},
		{name: "nanoseconds only", lower: file, upper: func(t *testing.T, d string) { touch(t, d+"/f", fraction.Add(1)) }, want: []string{"C /f"}},
		{name: "time cut to the second", lower: file, upper: func(t *testing.T, d string) { touch(t, d+"/f", whole) }},
		{name: "mode", lower: file, upper: func(t *testing.T, d string) { must(t, os.Chmod(d+"/f", 0o600)) }, want: []string{"C /f"}},
		{name: "setuid", lower: file, upper: func(t *testing.T, d string) { must(t, os.Chmod(d+"/f", 0o644|os.ModeSetuid)) }, want: []string{"C /f"}},
		{name: "mode there and back", lower: file, upper: func(t *testing.T, d string) { must(t, os.Chmod(d+"/f", 0o600), os.Chmod(d+"/f", 0o644)) }},
		{name: "owner", lower: file, upper: func(t *testing.T, d string) { must(t, os.Lchown(d+"/f", 7, -1)) }, want: []string{"C /f"}},
		{name: "group", lower: file, upper: func(t *testing.T, d string) { must(t, os.Lchown(d+"/f", -1, 7)) }, want: []string{"C /f"}},
		{name: "capability", lower: file, upper: func(t *testing.T, d string) { must(t, unix.Setxattr(d+"/f", capability, raw, 0)) }, want: []string{"C /f"}},
		{name: "capability taken", lower: func(t *testing.T, d string) { file(t, d); must(t, unix.Setxattr(d+"/f", capability, raw, 0)) },
			upper: func(t *testing.T, d string) { must(t, unix.Removexattr(d+"/f", capability)) }, want: []string{"C /f"}},
		{name: "user attribute", lower: file, upper: func(t *testing.T, d string) { must(t, unix.Setxattr(d+"/f", "user.a", []byte("b"), 0)) }, exact: []string{"C /f"}},
		{name: "user attribute's value", lower: func(t *testing.T, d string) { file(t, d); must(t, unix.Setxattr(d+"/f", "user.a", []byte("b"), 0)) },
			upper: func(t *testing.T, d string) { must(t, unix.Setxattr(d+"/f", "user.a", make([]byte, 900), 0)) }, exact: []string{"C /f"}},
		{name: "user attribute of a directory", lower: func(t *testing.T, d string) { must(t, os.Mkdir(d+"/d", 0o755)) },
			upper: func(t *testing.T, d string) { must(t, unix.Setxattr(d+"/d", "user.a", []byte("b"), 0)) }, exact: []string{"C /d"}},
		{name: "trusted attribute of a link", lower: func(t *testing.T, d string) { must(t, os.Symlink("x", d+"/l")) },
			upper: func(t *testing.T, d string) { must(t, unix.Lsetxattr(d+"/l", "trusted.a", []byte("b"), 0)) }, exact: []string{"C /l"}},
		{name: "rename", lower: file, upper: func(t *testing.T, d string) { must(t, os.Rename(d+"/f", d+"/e")) }, want: []string{"A /e", "D /f"}},
		{name: "rename over", lower: func(t *testing.T, d string) { file(t, d); write(t, d+"/g", "g") },
			upper: func(t *testing.T, d string) { must(t, os.Rename(d+"/g", d+"/f")) }, want: []string{"C /f", "D /g"}},
		{name: "hard link added", lower: file, upper: func(t *testing.T, d string) { must(t, os.Link(d+"/f", d+"/g")) }, want: []string{"A /g"}},
		{name: "hard link removed", lower: func(t *testing.T, d string) { file(t, d); must(t, os.Link(d+"/f", d+"/g")) },
			upper: func(t *testing.T, d string) { must(t, os.Remove(d+"/g")) }, want: []string{"D /g"}},
		{name: "directory to file", lower: func(t *testing.T, d string) { must(t, os.MkdirAll(d+"/d/e", 0o755)); write(t, d+"/d/f", "") },
			upper: func(t *testing.T, d string) { must(t, os.RemoveAll(d+"/d")); write(t, d+"/d", "") }, want: []string{"C /d"}},
		{name: "file to directory", lower: file,
			upper: func(t *testing.T, d string) {
				must(t, os.Remove(d+"/f"), os.MkdirAll(d+"/f/g", 0o755))
				write(t, d+"/f/g/h", "")
			}, want: []string{"C /f", "A /f/g", "A /f/g/h"}},
		{name: "directory to link to its like", lower: func(t *testing.T, d string) { must(t, os.Mkdir(d+"/d", 0o755)); write(t, d+"/d/f", "") },
			upper: func(t *testing.T, d string) { must(t, os.Rename(d+"/d", d+"/e"), os.Symlink("e", d+"/d")) }, want: []string{"C /d", "A /e", "A /e/f"}},
		{name: "link's target", lower: func(t *testing.T, d string) { must(t, os.Symlink("a", d+"/l")) },
			upper: func(t *testing.T, d string) { must(t, os.Remove(d+"/l"), os.Symlink("b", d+"/l")) }, want: []string{"C /l"}},
		{name: "link's target, same time", lower: func(t *testing.T, d string) { must(t, os.Symlink("a", d+"/l")); touch(t, d+"/l", fraction) },
			upper: func(t *testing.T, d string) {
				must(t, os.Remove(d+"/l"), os.Symlink("b", d+"/l"))
				touch(t, d+"/l", fraction)
			}, exact: []string{"C /l"}},
		{name: "device number", lower: func(t *testing.T, d string) {
			must(t, unix.Mknod(d+"/n", unix.S_IFCHR|0o600, 0x103))
			touch(t, d+"/n", fraction)
		},
			upper: func(t *testing.T, d string) {
				must(t, os.Remove(d+"/n"), unix.Mknod(d+"/n", unix.S_IFCHR|0o600, 0x105))
				touch(t, d+"/n", fraction)
			}, want: []string{"C /n"}},
		{name: "character to block device", lower: func(t *testing.T, d string) { must(t, unix.Mknod(d+"/n", unix.S_IFCHR|0o600, 0x103)) },
			upper: func(t *testing.T, d string) {
				must(t, os.Remove(d+"/n"), unix.Mknod(d+"/n", unix.S_IFBLK|0o600, 0x103))
			}, want: []string{"C /n"}},
		{name: "overlay's whiteout is a device", lower: file, upper: func(t *testing.T, d string) { must(t, os.Remove(d+"/f"), unix.Mknod(d+"/f", unix.S_IFCHR, 0)) }, want: []string{"C /f"}},
		{name: "whiteout-like names", lower: func(t *testing.T, d string) { file(t, d); write(t, d+"/.wh.gone", "") },
			upper: func(t *testing.T, d string) {
				must(t, os.Remove(d+"/.wh.gone"))
				write(t, d+"/.wh.f", "")
				write(t, d+"/.wh..wh..opq", "")
			}, want: []string{"A /.wh..wh..opq", "A /.wh.f", "D /.wh.gone"}},
		{name: "pipe and socket", lower: func(*testing.T, string) {}, upper: func(t *testing.T, d string) {
			must(t, unix.Mkfifo(d+"/p", 0o600), unix.Mknod(d+"/s", unix.S_IFSOCK|0o600, 0))
		}, want: []string{"A /p", "A /s"}},
		{name: "in a directory", lower: func(t *testing.T, d string) { must(t, os.MkdirAll(d+"/a/b/c", 0o755)) },
			upper: func(t *testing.T, d string) { write(t, d+"/a/b/c/f", "") }, want: []string{"C /a", "C /a/b", "C /a/b/c", "A /a/b/c/f"}},
		{name: "directory's time", lower: func(t *testing.T, d string) { must(t, os.Mkdir(d+"/d", 0o755)) },
			upper: func(t *testing.T, d string) { touch(t, d+"/d", whole) }},
		{name: "directory's mode", lower: func(t *testing.T, d string) { must(t, os.Mkdir(d+"/d", 0o755)); write(t, d+"/d/f", "") },
			upper: func(t *testing.T, d string) { must(t, os.Chmod(d+"/d", 0o755|os.ModeSticky)) }, want: []string{"C /d"}},
		{name: "directory's mode and content", lower: func(t *testing.T, d string) { must(t, os.Mkdir(d+"/d", 0o755)) },
			upper: func(t *testing.T, d string) { must(t, os.Chmod(d+"/d", 0o700)); write(t, d+"/d/f", "") }, want: []string{"C /d", "A /d/f"}},
		{name: "directory made again", lower: func(t *testing.T, d string) { must(t, os.Mkdir(d+"/d", 0o755)); write(t, d+"/d/f", "") },
			upper: func(t *testing.T, d string) { must(t, os.RemoveAll(d+"/d"), os.Mkdir(d+"/d", 0o755)) }, want: []string{"C /d", "D /d/f"}},
		{name: "directories come and go", lower: func(t *testing.T, d string) { must(t, os.MkdirAll(d+"/old/sub/sub", 0o755)); write(t, d+"/old/f", "") },
			upper: func(t *testing.T, d string) {
				must(t, os.RemoveAll(d+"/old"), os.MkdirAll(d+"/new/sub/sub", 0o755))
			}, want: []string{"A /new", "A /new/sub", "A /new/sub/sub", "D /old"}},
		{name: "order", lower: func(t *testing.T, d string) {}, upper: func(t *testing.T, d string) {
			must(t, os.MkdirAll(d+"/a/b", 0o755), os.MkdirAll(d+"/a-b/c", 0o755), os.MkdirAll(d+"/a-b-c/d", 0o755), os.MkdirAll(d+"/a0/e", 0o755), os.MkdirAll(d+"/A", 0o755))
		}, want: []string{"A /A", "A /a", "A /a-b", "A /a-b-c", "A /a-b-c/d", "A /a-b/c", "A /a/b", "A /a0", "A /a0/e"}},
		{name: "the root's own mode", lower: file, upper: func(t *testing.T, d string) { must(t, os.Chmod(d, 0o700)) }},
		{name: "copied", lower: func(t *testing.T, d string) {
			file(t, d)
			must(t, os.MkdirAll(d+"/a/b", 0o755), os.Symlink("x", d+"/a/l"), unix.Mkfifo(d+"/p", 0o600))
		}, upper: func(*testing.T, string) {}, copied: true},
	}
	for _, kind := range []struct {
		filesystem.Type
		size units.Bytes
	}{{filesystem.Ext4, 64 * units.MiB}, {filesystem.XFS, 320 * units.MiB}} {
		t.Run(string(kind.Type), func(t *testing.T) {
			twins := newTwins(t, kind.Type, kind.size, func(root string) {
				for _, tt := range tests {
					d := filepath.Join(root, tt.name)
					must(t, os.Mkdir(d, 0o755))
					tt.lower(t, d)
				}
			})
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					lower, upper := filepath.Join(twins.lower, tt.name), filepath.Join(twins.upper, tt.name)
					if tt.copied {
						must(t, os.RemoveAll(upper))
						run(t, "cp", "-a", lower, upper)
					}
					tt.upper(t, upper)
					wantLines(t, "the plain comparison", oracle(t, lower, upper), tt.want)
					exact := tt.exact
					if exact == nil {
						exact = tt.want
					}
					for _, same := range []bool{false, true} {
						if tt.copied && same {
							continue
						}
						got, _ := walkLines(t, lower, upper, Options{SameOrigin: same})
						wantLines(t, "by Docker's rules", got, tt.want)
						got, _ = walkLines(t, lower, upper, Options{SameOrigin: same, Exact: true})
						wantLines(t, "exact", got, exact)
					}
				})
			}
		})
	}
}
