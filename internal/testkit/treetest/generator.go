package treetest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Capability is an attribute that Docker compares, with a value that the kernel accepts
// for each last byte of 0 or 1.
const Capability = "security.capability"

func capabilityValue(b byte) []byte {
	return []byte{0, 0, 0, 2, b, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}

// Generator changes the tree below Root at random. It needs root for devices and owners.
type Generator struct {
	T      testing.TB
	Random *rand.Rand
	Root   string
}

func (g *Generator) must(errs ...error) {
	g.T.Helper()
	if err := errors.Join(errs...); err != nil {
		g.T.Fatal(err)
	}
}

// Pick returns a random path of the entries for which want returns true, or "" if there
// is none.
func (g *Generator) Pick(want func(fs.DirEntry) bool) string {
	var paths []string
	g.must(filepath.WalkDir(g.Root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != g.Root && want(e) {
			paths = append(paths, path)
		}
		return err
	}))
	if len(paths) == 0 {
		return ""
	}
	return paths[g.Random.IntN(len(paths))]
}

func anything(fs.DirEntry) bool       { return true }
func regular(e fs.DirEntry) bool      { return e.Type().IsRegular() }
func directories(e fs.DirEntry) bool  { return e.IsDir() }
func attributable(e fs.DirEntry) bool { return e.IsDir() || e.Type().IsRegular() }

func (g *Generator) oneIn(n int) bool { return g.Random.IntN(n) == 0 }
func (g *Generator) content() []byte  { return []byte(strings.Repeat("x", g.Random.IntN(9000))) }
func (g *Generator) mode() fs.FileMode {
	return 0o600 | fs.FileMode(g.Random.IntN(0o100))
}

// moment returns one of a few times, some of them without nanoseconds.
func (g *Generator) moment() unix.Timespec {
	return unix.NsecToTimespec(time.Unix(1_500_000_000+g.Random.Int64N(3), g.Random.Int64N(2)*5000).UnixNano())
}

func (g *Generator) touch(path string) {
	at := g.moment()
	g.must(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
}

// fresh returns a path that does not exist. Names are few and have common prefixes, so
// that they collide and their order matters.
func (g *Generator) fresh() string {
	for range 20 {
		parent := g.Root
		if !g.oneIn(3) {
			parent = cmp.Or(g.Pick(directories), g.Root)
		}
		names := []string{"a", "a-b", "a.b", "a0", "a-", "b", "B", "ab", ".wh.a", "\u00e4", "a!", "~", "c", "d", "e"}
		path := filepath.Join(parent, names[g.Random.IntN(len(names))])
		if _, err := os.Lstat(path); err != nil && len(path) < 400 {
			return path
		}
	}
	return filepath.Join(g.Root, fmt.Sprint(g.Random.Uint64()))
}

// Create makes an entry of any type.
func (g *Generator) Create() {
	g.T.Helper()
	path := g.fresh()
	switch g.Random.IntN(12) {
	case 0, 1, 2, 3:
		g.must(os.Mkdir(path, 0o100|g.mode()))
	case 4:
		targets := []string{"a", "b", "/", "..", "/etc/passwd", strings.Repeat("long/", 30)}
		g.must(os.Symlink(targets[g.Random.IntN(len(targets))], path))
	case 5:
		g.must(unix.Mkfifo(path, 0o600))
	case 6:
		g.must(unix.Mknod(path, unix.S_IFCHR|0o600, 0x100+g.Random.IntN(9)))
	case 7:
		if target := g.Pick(regular); target != "" {
			g.must(os.Link(target, path))
		}
	default:
		g.must(os.WriteFile(path, g.content(), g.mode()))
	}
	if info, err := os.Lstat(path); err == nil && !info.IsDir() && g.oneIn(4) {
		g.touch(path)
	}
}

// Change makes, changes or removes an entry.
func (g *Generator) Change() {
	g.T.Helper()
	path := g.Pick(anything)
	if path == "" {
		g.Create()
		return
	}
	switch n := g.Random.IntN(22); {
	case n < 5:
		g.replace(path)
	case n < 7:
		g.move(path)
	case n < 10:
		g.property(path)
	case n < 13:
		g.attribute()
	case n < 18:
		g.write()
	default:
		g.Create()
	}
}

// replace removes an entry. Another one, of any type, may take its place.
func (g *Generator) replace(path string) {
	g.must(os.RemoveAll(path))
	switch g.Random.IntN(4) {
	case 0:
		g.Create()
	case 1:
		g.must(os.Mkdir(path, 0o755))
	case 2:
		g.must(os.WriteFile(path, g.content(), 0o644))
	}
}

// move renames an entry: to a new name, over another entry, or in exchange with one.
func (g *Generator) move(path string) {
	to, flags := g.fresh(), 0
	switch g.Random.IntN(3) {
	case 0:
		to = g.Pick(anything)
	case 1:
		to, flags = g.Pick(anything), unix.RENAME_EXCHANGE
	}
	if within := func(a, b string) bool { return strings.HasPrefix(a+"/", b+"/") }; within(to, path) || within(path, to) {
		return
	}
	err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, to, uint(flags))
	// A directory replaces an empty one only.
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EISDIR) {
		g.must(err)
	}
}

// property changes the times, the mode or the owner of an entry.
func (g *Generator) property(path string) {
	switch g.Random.IntN(3) {
	case 0:
		g.touch(path)
	case 1:
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			g.must(os.Chmod(path, g.mode()))
		}
	default:
		g.must(os.Lchown(path, g.Random.IntN(2), g.Random.IntN(2)))
	}
}

// attribute changes an extended attribute. A long one is not in the inode.
func (g *Generator) attribute() {
	path := g.Pick(attributable)
	if path == "" {
		return
	}
	switch g.Random.IntN(5) {
	case 0:
		g.must(unix.Setxattr(path, "user.a", nil, 0))
	case 1:
		value := make([]byte, 300+g.Random.IntN(200))
		value[0] = byte(g.Random.IntN(256))
		g.must(unix.Setxattr(path, "user.long", value, 0))
	case 2, 3:
		name := []string{"user.a", "user.long", Capability}[g.Random.IntN(3)]
		if err := unix.Removexattr(path, name); !errors.Is(err, unix.ENODATA) {
			g.must(err)
		}
	default:
		if path := g.Pick(regular); path != "" {
			g.must(unix.Setxattr(path, Capability, capabilityValue(byte(g.Random.IntN(2))), 0))
		}
	}
}

// write changes the content of a file, and then its times or not.
func (g *Generator) write() {
	path := g.Pick(regular)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	g.must(err)
	info, err := f.Stat()
	g.must(err)
	switch size := info.Size(); g.Random.IntN(6) {
	case 0, 1:
		g.must(f.Truncate(0))
		_, err = f.Write(g.content())
	case 2:
		_, err = f.WriteAt(g.content(), size)
	case 3: // in place
		if size > 0 {
			_, err = f.WriteAt([]byte{byte(g.Random.IntN(256))}, g.Random.Int64N(size))
		}
	case 4: // a hole
		_, err = f.WriteAt([]byte("x"), size+g.Random.Int64N(4<<20))
	default:
		err = f.Truncate(g.Random.Int64N(size + 5000))
	}
	g.must(err, f.Close())
	if g.oneIn(3) {
		g.touch(path)
	}
}
