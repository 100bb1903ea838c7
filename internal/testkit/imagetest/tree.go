package imagetest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Node is what a tree has at a path.
type Node struct {
	Type         byte // one letter as ls and find have it: f d l c b p s
	Mode         uint32
	UID, GID     int
	Size         int64 // of regular files
	Time         int64 // nanoseconds since 1970
	Xattrs       map[string]string
	Target       string // of a symlink
	Major, Minor uint32
	Content      string // digest of a regular file's
	Group        string // the first of the names that share the inode, "" of one with a single name
}

// Tree is all that is below a root, by paths without a leading slash.
type Tree map[string]Node

func (n Node) String() string {
	text := fmt.Sprintf("%c %04o %d:%d %s", n.Type, n.Mode, n.UID, n.GID, time.Unix(0, n.Time).UTC().Format(time.RFC3339Nano))
	switch n.Type {
	case 'f':
		text += fmt.Sprintf(" size %d content %.12s", n.Size, n.Content)
	case 'l':
		text += fmt.Sprintf(" -> %q", n.Target)
	case 'c', 'b':
		text += fmt.Sprintf(" %d,%d", n.Major, n.Minor)
	}
	for _, name := range slices.Sorted(maps.Keys(n.Xattrs)) {
		text += fmt.Sprintf(" %s=%x", name, n.Xattrs[name])
	}
	if n.Group != "" {
		text += fmt.Sprintf(" one of those with %q", n.Group)
	}
	return text
}

// Digest is the same for trees that are the same in all that a Node says.
func (t Tree) Digest() string {
	sum := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(t)) {
		n := t[path]
		fmt.Fprintf(sum, "%q %s %s\n", path, n, n.Content)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Diff tells in words, for at most so many paths, where other is not as t.
func (t Tree) Diff(other Tree, most int) []string {
	paths := slices.Collect(maps.Keys(t))
	for path := range other {
		if _, ok := t[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var found []string
	left := 0
	for _, path := range paths {
		want, expected := t[path]
		seen, there := other[path]
		line := ""
		switch {
		case !there:
			line = fmt.Sprintf("%q is missing: %s", path, want)
		case !expected:
			line = fmt.Sprintf("%q should not be: %s", path, seen)
		case want.String() != seen.String() || want.Content != seen.Content:
			line = fmt.Sprintf("%q:\n  want %s\n  seen %s", path, want, seen)
		default:
			continue
		}
		if len(found) < most {
			found = append(found, line)
		} else {
			left++
		}
	}
	if left > 0 {
		found = append(found, fmt.Sprintf("and %d more", left))
	}
	return found
}

// Part is something a peer does not keep.
type Part string

const (
	Times      Part = "times"
	Xattrs     Part = "xattrs" // all but security.capability
	Groups     Part = "groups"
	Nanosecond Part = "nanosecond" // times are to the second
)

// Without is the tree less what a peer does not keep.
func (t Tree) Without(parts ...Part) Tree {
	less := Tree{}
	for path, n := range t {
		if slices.Contains(parts, Times) {
			n.Time = 0
		}
		if slices.Contains(parts, Nanosecond) {
			n.Time -= n.Time % 1e9
		}
		if slices.Contains(parts, Groups) {
			n.Group = ""
		}
		if slices.Contains(parts, Xattrs) {
			n.Xattrs = maps.Clone(n.Xattrs)
			maps.DeleteFunc(n.Xattrs, func(name, _ string) bool { return name != "security.capability" })
		}
		less[path] = n
	}
	return less
}

// Overlaid is the tree as overlayfs shows it, without the groups of one: it counts
// a file's names in the layer that the file is in, of which layers above may have
// replaced all but one.
func (t Tree) Overlaid() Tree {
	names := map[string]int{}
	for _, n := range t {
		names[n.Group]++
	}
	seen := Tree{}
	for path, n := range t {
		if names[n.Group] == 1 {
			n.Group = ""
		}
		seen[path] = n
	}
	return seen
}

// Below is the tree under a folder.
func (t Tree) Below(dir string) Tree {
	part := Tree{}
	for path, n := range t {
		if name, ok := strings.CutPrefix(path, dir+"/"); ok {
			part[name] = n
		}
	}
	return part
}
