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

// Node is a file or directory of a tree.
type Node struct {
	Type         byte // the letter of find's -type: f d l c b p s
	Mode         uint32
	UID, GID     int
	Size         int64 // of regular files
	Time         int64 // nanoseconds since 1970
	Xattrs       map[string]string
	Target       string // of a symlink
	Major, Minor uint32
	Content      string // a regular file's digest
	Group        string // the first of the names that share the inode, "" for a single name
}

// Tree holds all nodes below a root, by paths without a leading slash.
type Tree map[string]Node

func (n Node) String() string {
	at := time.Unix(0, n.Time).UTC().Format(time.RFC3339Nano)
	text := fmt.Sprintf("%c %04o %d:%d %s", n.Type, n.Mode, n.UID, n.GID, at)
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
		text += fmt.Sprintf(" same inode as %q", n.Group)
	}
	return text
}

// Digest returns a digest of all fields of all nodes.
func (t Tree) Digest() string {
	sum := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(t)) {
		n := t[path]
		fmt.Fprintf(sum, "%q %s %s\n", path, n, n.Content)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Diff describes the differences of other from t, for at most most paths.
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
			line = fmt.Sprintf("%q is unexpected: %s", path, seen)
		case want.String() != seen.String() || want.Content != seen.Content:
			line = fmt.Sprintf("%q:\n  want %s\n  got  %s", path, want, seen)
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

// Part is a part of a tree that another program does not keep.
type Part string

// Parts that other programs do not keep.
const (
	Times      Part = "times"
	Xattrs     Part = "xattrs" // all but security.capability
	Groups     Part = "groups"
	Nanosecond Part = "nanosecond" // times are to the second
)

// Without returns the tree without these parts.
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

// Overlaid returns the tree as overlayfs shows it, without groups of a single name. The
// link count in overlayfs is that of the file's layer, although layers above may have
// replaced all names but one.
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

// Below returns the tree below a directory.
func (t Tree) Below(dir string) Tree {
	part := Tree{}
	for path, n := range t {
		if name, ok := strings.CutPrefix(path, dir+"/"); ok {
			part[name] = n
		}
	}
	return part
}
