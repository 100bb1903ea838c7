package layers_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"thinctl/fault"
	"thinctl/internal/layers"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// TestTooSmall fills volumes. The error names the limit, and its cure raises it.
func TestTooSmall(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	attribute := &fs.PathError{Op: "setxattr user.big of 5120 bytes", Path: "x", Err: syscall.ENOSPC}
	space := filesystem.Space{Size: 64 * units.MiB, Inodes: 16384, Block: 4 * units.KiB}
	spacious := filesystem.Space{
		Size:       64 * units.MiB,
		Free:       32 * units.MiB,
		Inodes:     16384,
		FreeInodes: 5,
		Block:      4 * units.KiB,
	}
	for _, c := range []struct {
		name   string
		space  filesystem.Space
		fs     filesystem.Type
		err    error
		kind   error
		layers []string
		cure   layers.CureCode
		words  []string
	}{
		{"inodes", filesystem.Space{Free: units.MiB, Inodes: 16384}, filesystem.Ext4, full, layers.ErrTooSmall, []string{"a"},
			layers.CureLargerOrXFS, []string{"all 16384 inodes", "64M ext4"}},
		{"inodes over a layer", filesystem.Space{Free: units.MiB, Inodes: 16384}, filesystem.Ext4, full, layers.ErrTooSmall, []string{"a", "b"},
			layers.CureLarger, nil},
		{"blocks", filesystem.Space{Inodes: 16384, FreeInodes: 5}, filesystem.Ext4, full, layers.ErrTooSmall, []string{"a"},
			layers.CureLarger, []string{"64M ext4 is full"}},
		{"blocks of an xfs", space, filesystem.XFS, full, layers.ErrTooSmall, []string{"a"},
			layers.CureLarger, []string{"64M xfs"}},
		{"attribute", spacious, filesystem.Ext4, attribute, fault.Unsupported, []string{"a"},
			layers.CureXFS, []string{"extended attributes", "one block, here of 4K"}},
		{"attribute without a free block", filesystem.Space{Inodes: 16384, FreeInodes: 5, Block: 4 * units.KiB}, filesystem.Ext4, attribute, layers.ErrTooSmall, []string{"a"},
			layers.CureLarger, []string{"64M ext4 is full"}},
		{"attribute over a layer", spacious, filesystem.Ext4, attribute, fault.Unsupported, []string{"a", "b"},
			layers.CureXFSBelow, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.Files.Left = func(string) filesystem.Space { return c.space }
			chain, err := f.s.BeginChain(
				f.ctx,
				layers.ChainOptions{Layers: ids(c.layers...), FS: c.fs, Size: 64 * units.MiB},
			)
			check(t, err)
			for _, word := range c.layers[:len(c.layers)-1] {
				_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id(word)}, fill(word))
				check(t, err)
			}
			last := c.layers[len(c.layers)-1]
			_, err = chain.Add(
				f.ctx,
				layers.LayerSpec{ID: id(last), Last: true},
				func(string) (layers.Filled, error) {
					return layers.Filled{}, c.err
				},
			)
			wantError(t, err, c.kind, append(c.words, "add layer "+id(last)[:12])...)
			wantError(t, err, syscall.ENOSPC)
			wantCure(t, err, layers.Cure{Code: c.cure, Pool: "vault", Size: 128 * units.MiB, XFS: filesystem.MinXFS})
			check(t, chain.Close())
			check(t, f.verify())
		})
	}
}

// TestChainGrows makes layers that are larger than their parents.
func TestChainGrows(t *testing.T) {
	f := newFixture(t)
	loadSized := func(size units.Bytes, words ...string) {
		t.Helper()
		chain, err := f.s.BeginChain(f.ctx, layers.ChainOptions{Layers: ids(words...), Size: size})
		check(t, err)
		for i, word := range words {
			if i >= chain.Have() {
				_, err = chain.Add(f.ctx, layers.LayerSpec{ID: id(word), Last: i == len(words)-1}, fill(word))
				check(t, err)
			}
		}
		check(t, errors.Join(chain.Finish(f.ctx, nil), chain.Close()))
	}
	loadSized(64*units.MiB, "a")
	loadSized(128*units.MiB, "a", "b", "c")
	loadSized(0, "a", "b", "c", "d")
	loadSized(16*units.MiB, "a", "e")
	for word, want := range map[string]units.Bytes{"a": 64 * units.MiB, "b": 128 * units.MiB,
		"c": 128 * units.MiB, "d": 128 * units.MiB, "e": 64 * units.MiB} {
		layer, err := f.s.Layer(f.ctx, id(word))
		check(t, err)
		if layer.Volume != want || layer.FileSystem != 0 {
			t.Errorf(
				"layer %s: got a volume of %s with a file system of %s, want %s, all of it used by the file system",
				word,
				layer.Volume,
				layer.FileSystem,
				want,
			)
		}
	}
	check(t, errors.Join(f.checkLayer("a", "b", "c", "d"), f.checkLayer("a", "e"), f.verify()))
}
