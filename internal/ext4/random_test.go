package ext4

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/changes"
	"thinctl/internal/testkit/need"
	"thinctl/internal/testkit/treetest"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// kind is a kind of file system.
type kind struct {
	name string
	args []string // of mkfs
	// frozen is false if a snapshot of the mounted file system has to be walked: without a
	// journal it looks like one that was not unmounted.
	frozen bool
	// grown is false if resize2fs damages the file system when it is not mounted.
	grown bool
	// readOnly makes the devices read-only that are mounted without a journal. On others
	// the kernel deletes the files that were open. It does not write the checksum of the
	// list of orphans then, and the file system cannot be mounted again.
	readOnly bool
}

func kinds() []kind {
	usual := func(name string, args ...string) kind { return kind{name: name, args: args, frozen: true, grown: true} }
	return []kind{
		usual("default"),
		usual("4k-blocks", "-b", "4096", "-O", "metadata_csum,64bit"),
		usual("no-64bit", "-O", "^64bit", "-b", "4096"),
		usual("no-checksums", "-O", "^metadata_csum"),
		usual("old-group-checksums", "-O", "^metadata_csum,uninit_bg"),
		usual("inline-data", "-O", "inline_data", "-b", "4096"),
		usual("inline-data-in-512-bytes", "-O", "inline_data", "-I", "512"),
		usual("no-flex-groups", "-O", "^flex_bg"),
		usual("small-flex-groups", "-G", "2", "-g", "2048"),
		usual("no-extents", "-O", "^extent,^64bit", "-b", "1024"),
		usual("meta-groups", "-O", "meta_bg,^resize_inode", "-b", "1024", "-g", "512"),
		usual("inodes-of-128-bytes", "-I", "128", "-O", "^extra_isize"),
		usual("sparse-super2", "-O", "sparse_super2,^resize_inode"),
		usual("no-sparse-super", "-O", "^sparse_super,^resize_inode", "-g", "2048"),
		usual("no-filetype", "-O", "^filetype,^dir_nlink,^huge_file"),
		usual("csum-seed-large-dir", "-O", "metadata_csum,metadata_csum_seed,large_dir", "-b", "1024"),
		{name: "no-journal", args: []string{"-O", "^has_journal"}, grown: true},
		{name: "orphan-file", args: []string{"-O", "orphan_file"}, frozen: true, readOnly: true},
		{name: "bigalloc", args: []string{"-O", "bigalloc", "-b", "1024", "-C", "4096"}, frozen: true},
	}
}

// TestRandomChanges changes file systems of many kinds at random. It compares the walk
// of the paths that Changed returns with the walk of both trees and with containerd's.
func TestRandomChanges(t *testing.T) {
	need.Loops(t)
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("THINCTL_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		must(t, err)
	}
	rounds := 2
	if given := os.Getenv("THINCTL_ROUNDS"); given != "" {
		var err error
		rounds, err = strconv.Atoi(given)
		must(t, err)
	}
	t.Logf("THINCTL_SEED=%d THINCTL_ROUNDS=%d", seed, rounds)
	for i, kind := range kinds() {
		t.Run(kind.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			d := &differential{t: t, kind: kind, random: random}
			d.lower = format(t, 48*units.MiB, append(kind.args, "-N", "8192")...)
			change(t, d.lower, d.fill)
			for round := range rounds {
				d.round(round)
				if t.Failed() {
					t.Fatalf("round %d of THINCTL_SEED=%d", round, seed)
				}
			}
			t.Logf("%d operations, %d changes", d.operations, d.changes)
			if d.changes < rounds {
				t.Errorf("got %d changes, want %d or more", d.changes, rounds)
			}
		})
	}
}

// differential is the state of the test of a kind of file system.
type differential struct {
	t                   *testing.T
	kind                kind
	random              *rand.Rand
	lower               string // the image
	operations, changes int
}

const (
	crowded = "crowded" // a directory that has an index
	hidden  = "hidden"  // a directory that is far from the links in it
)

func (d *differential) generator(root string) *treetest.Generator {
	return &treetest.Generator{T: d.t, Random: d.random, Root: root}
}

func (d *differential) fill(root string) {
	g := d.generator(filepath.Join(root, "tree"))
	deep := strings.Repeat("/deep", 30)
	must(d.t, os.MkdirAll(g.Root+deep, 0o755), os.Mkdir(filepath.Join(root, crowded), 0o755), os.Mkdir(filepath.Join(root, hidden), 0o755))
	for range 150 {
		g.Create()
	}
	for i := range 3000 {
		path := filepath.Join(root, crowded, fmt.Sprintf("%d-%s", i, strings.Repeat("long", i%40)))
		if i%10 == 0 {
			must(d.t, os.Mkdir(path, 0o755))
		} else {
			must(d.t, os.WriteFile(path, nil, 0o644))
		}
		if i%100 == 1 {
			must(d.t, os.Link(path, filepath.Join(root, hidden, fmt.Sprint(i))))
		}
	}
}

// round makes an upper file system with random changes and compares it.
func (d *differential) round(round int) {
	t := d.t
	written := clone(t, d.lower)
	if d.random.IntN(4) == 0 {
		info, err := os.Stat(written)
		must(t, err, os.Truncate(written, info.Size()+d.random.Int64N(int64(64*units.MiB))))
		if d.kind.grown && d.random.IntN(2) == 0 {
			program(t, "resize2fs", "-f", written)
		}
	}
	m := mount(t, written, filesystem.MountOptions{})
	err := filesystem.Grow(t.Context(), m.device.Name(), m.root)
	if err != nil && !errors.Is(err, fault.Denied) { // some hosts do not let root do it; TestBlockDelta grows in the guest
		t.Fatal(err)
	}
	var open []*os.File
	for range 2 + d.random.IntN(25) {
		open = append(open, d.operation(m.root)...)
	}
	frozen := d.kind.frozen && d.random.IntN(2) == 0
	upper := written
	if frozen { // while files without names are open
		must(t, filesystem.Freeze(t.Context(), m.root))
		upper = clone(t, written)
		must(t, filesystem.Thaw(m.root))
	}
	for _, f := range open {
		must(t, f.Close())
	}
	m.unmount()
	if frozen {
		must(t, os.Remove(written))
	}
	d.compare(fmt.Sprintf("round %d, frozen: %t", round, frozen), upper)
	if d.random.IntN(3) == 0 {
		d.lower, upper = upper, d.lower
	}
	must(t, os.RemoveAll(upper)) // memory
}

// operation changes a tree. It returns files that must stay open.
func (d *differential) operation(root string) (open []*os.File) {
	t := d.t
	d.operations++
	directory := filepath.Join(root, []string{crowded, hidden}[d.random.IntN(2)])
	entries, err := os.ReadDir(directory)
	must(t, err)
	one := filepath.Join(directory, entries[d.random.IntN(len(entries))].Name())
	switch d.random.IntN(12) {
	case 0:
		must(t, os.RemoveAll(one))
	case 1:
		must(t, os.WriteFile(filepath.Join(root, crowded, fmt.Sprint("new", d.random.Uint64())), nil, 0o644))
	case 2:
		must(t, os.Chmod(one, 0o600|fs.FileMode(d.random.IntN(0o200))))
	case 3:
		must(t, os.Rename(one, filepath.Join(root, hidden, fmt.Sprint(d.random.Uint64()))))
	case 4: // many new names split the blocks of the index
		for range 100 {
			must(t, os.WriteFile(filepath.Join(root, crowded, fmt.Sprint(d.random.Uint64(), strings.Repeat("x", 100))), nil, 0o644))
		}
	case 5: // a file without a name
		f, err := os.CreateTemp(root, "removed")
		must(t, err, os.Remove(f.Name()))
		open = append(open, f)
	case 6: // an access time
		_, err := os.ReadDir(one)
		must(t, os.Chtimes(one, time.Now(), time.Time{}))
		if err != nil && !errors.Is(err, unix.ENOTDIR) {
			t.Fatal(err)
		}
	default:
		d.generator(filepath.Join(root, "tree")).Change()
		if _, err := os.Lstat(filepath.Join(root, "tree")); err != nil {
			must(t, os.Mkdir(filepath.Join(root, "tree"), 0o755))
		}
	}
	return open
}

// compare compares Changed with the walk of both trees.
func (d *differential) compare(when, upper string) {
	t := d.t
	t.Helper()
	more := func() bool { return d.random.IntN(200) == 0 }
	before, err := changedIn(t, d.lower, upper, slices.Values(blocks(t, d.lower, upper, more)))
	must(t, err)
	flags := uint32(0)
	if d.kind.readOnly {
		flags = unix.LO_FLAGS_READ_ONLY
	}
	lowerMount, upperMount := mountOn(t, d.lower, flags, readOnly()), mountOn(t, upper, flags, readOnly())
	defer lowerMount.unmount()
	defer upperMount.unmount()
	// The mount deletes files that were open. Its blocks may not be in the file.
	mounted, err := changedIn(t, lowerMount.device.Name(), upperMount.device.Name(), slices.Values(blocks(t, d.lower, upper, more)))
	must(t, err)
	for _, exact := range []bool{false, true} {
		want := walk(t, lowerMount.root, upperMount.root, changes.Options{Exact: exact})
		for i, only := range []changes.Names{before, mounted} {
			got := walk(t, lowerMount.root, upperMount.root, changes.Options{Exact: exact, Only: only})
			if !slices.Equal(got, want) {
				t.Errorf("%s, exact: %t, mounted: %d:\ngot\n  %q\nwant\n  %q\nonly %q", when, exact, i, lines(got), lines(want), paths(only))
			}
		}
		if !exact {
			d.changes += len(want)
			agreesWithContinuity(t, lowerMount.root, upperMount.root, want)
		}
	}
}

// agreesWithContinuity compares a result by Docker's rules with containerd's differ. Both
// find the same additions and deletions, and continuity finds all modified files.
func agreesWithContinuity(t *testing.T, lower, upper string, all []changes.Change) {
	t.Helper()
	var theirs, modified []string
	must(t, continuity.Changes(context.Background(), lower, upper,
		func(kind continuity.ChangeKind, path string, info fs.FileInfo, err error) error {
			switch kind {
			case continuity.ChangeKindAdd:
				theirs = append(theirs, "A "+path)
			case continuity.ChangeKindDelete:
				theirs = append(theirs, "D "+path)
			case continuity.ChangeKindModify:
				modified = append(modified, "C "+path)
			}
			return err
		}))
	var ours []string
	for _, c := range all {
		switch {
		case c.Kind != changes.Modified:
			ours = append(ours, c.String())
		case !c.IsDir() && !slices.Contains(modified, c.String()):
			t.Errorf("continuity does not find %q", c)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("got the additions and deletions\n  %q\nwant those of continuity\n  %q", ours, theirs)
	}
}
