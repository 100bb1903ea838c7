package changes

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// oracle is Docker's comparison in its simplest form: it reads both trees into maps,
// by paths, and compares them.
func oracle(t testing.TB, lower, upper string) []string {
	t.Helper()
	var lines []string
	compareNodes(readNodes(t, lower), readNodes(t, upper), "", &lines)
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	return lines
}

type node struct {
	info       fs.FileInfo
	capability []byte
	children   map[string]*node
}

func readNodes(t testing.TB, path string) *node {
	t.Helper()
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &node{info: info, children: map[string]*node{}}
	value := make([]byte, 64)
	if size, err := unix.Lgetxattr(path, "security.capability", value); err == nil {
		n.capability = value[:size]
	}
	if !info.IsDir() {
		return n
	}
	names, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if child := readNodes(t, filepath.Join(path, e.Name())); child != nil {
			n.children[e.Name()] = child
		}
	}
	return n
}

// compareNodes reports whether anything below changed.
func compareNodes(lower, upper *node, path string, lines *[]string) bool {
	before := len(*lines)
	for name, now := range upper.children {
		was := lower.children[name]
		at := path + "/" + name
		letter := ""
		switch {
		case was == nil:
			letter = "A"
			was = &node{}
		case nodesDiffer(was, now):
			letter = "C"
		}
		if !now.info.IsDir() {
			was = &node{}
		}
		if below := compareNodes(was, now, at, lines); below && letter == "" {
			letter = "C"
		}
		if letter != "" {
			*lines = append(*lines, letter+" "+at)
		}
	}
	for name := range lower.children {
		if upper.info.IsDir() && upper.children[name] == nil {
			*lines = append(*lines, "D "+path+"/"+name)
		}
	}
	return len(*lines) > before
}

func nodesDiffer(a, b *node) bool {
	x, y := a.info.Sys().(*syscall.Stat_t), b.info.Sys().(*syscall.Stat_t)
	sameTime := a.info.ModTime().Equal(b.info.ModTime()) ||
		a.info.ModTime().Unix() == b.info.ModTime().Unix() && (a.info.ModTime().Nanosecond() == 0 || b.info.ModTime().Nanosecond() == 0)
	return a.info.Mode() != b.info.Mode() || x.Uid != y.Uid || x.Gid != y.Gid || x.Rdev != y.Rdev ||
		!a.info.IsDir() && (!sameTime || x.Size != y.Size) ||
		!bytes.Equal(a.capability, b.capability)
}

// dockerSize returns the size like ChangesSize of moby's pkg/archive/changes.go.
func dockerSize(t testing.TB, upper string, lines []string) (size int64) {
	t.Helper()
	counted := map[uint64]bool{}
	for _, line := range lines {
		if line[0] == 'D' {
			continue
		}
		info, err := os.Lstat(filepath.Join(upper, line[2:]))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.IsDir() || st.Nlink > 1 && counted[st.Ino] {
			continue
		}
		counted[st.Ino] = true
		size += info.Size()
	}
	return size
}
