package ext4

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/units"
)

// populated returns the bytes of a file system with some files. It needs no root.
func populated(t testing.TB, args ...string) []byte {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/a/b/c", 0o755), os.Mkdir(root+"/large", 0o755))
	for _, path := range []string{"/f", "/a/f", "/a/b/f", "/a/b/c/f"} {
		write(t, root+path, path)
	}
	must(t, os.Link(root+"/f", root+"/a/link"), os.Link(root+"/f", root+"/a/b/link"))
	for i := range 40 { // two blocks, so that indirect blocks and extents have something to map
		write(t, root+"/large/"+strings.Repeat("name", 10)+string(rune('a'+i)), "")
	}
	image := format(t, 2*units.MiB, append([]string{"-b", "1024", "-N", "128", "-O", "^has_journal,^resize_inode", "-d", root}, args...)...)
	content, err := os.ReadFile(image)
	must(t, err)
	return content
}

// everything is the range of all bytes of an image.
func everything(image []byte) func(func(Range) bool) {
	return slices.Values([]Range{{0, units.Bytes(len(image))}})
}

// pair is two images in memory.
type pair struct{ lower, upper []byte }

func (p pair) changed(ctx context.Context) error {
	_, err := Changed(ctx, bytes.NewReader(p.lower), bytes.NewReader(p.upper), everything(p.lower))
	return err
}

// touchAll changes the generation of every inode of the upper file system.
func (p pair) touchAll(t testing.TB) {
	t.Helper()
	fs, err := open(t.Context(), "the test's file system", bytes.NewReader(p.upper))
	must(t, err)
	for _, g := range fs.groups {
		for i := range g.used {
			p.upper[g.table+i*fs.inodeSize+0x64] ^= 1
		}
	}
}

func TestUnsupported(t *testing.T) {
	base := populated(t)
	fs, err := open(t.Context(), "the test's file system", bytes.NewReader(base))
	must(t, err)
	root, err := fs.directory(rootInode)
	must(t, err)
	runs, err := fs.runs(root)
	must(t, err)
	rootBlock, rootRecord := int(runs[0].first*fs.blockSize), int(fs.groups[0].table)+int(fs.inodeSize)
	put := func(at int, value uint32) func(*pair) {
		return func(p *pair) { binary.LittleEndian.PutUint32(p.upper[at:], value) }
	}
	or := func(at int, bits byte) func(*pair) { return func(p *pair) { p.upper[at] |= bits } }
	const sb, group = superblockAt, 2 * superblockAt
	for _, tt := range []struct {
		name string
		make func(*pair)
		want string
	}{
		{"not ext4", put(sb+0x38, 0), "not an ext4 file system"},
		{"an empty device", func(p *pair) { p.upper = nil }, "the device ends"},
		{"half a device", func(p *pair) { p.upper = p.upper[:8<<10] }, "the device ends"},
		{"its journal", or(sb+0x60, 0x4), "its journal must be replayed"},
		{"an error", or(sb+0x3a, 2), "it must be checked"},
		{"not unmounted", func(p *pair) { p.upper[sb+0x3a] = 0 }, "it must be checked"},
		{"ea_inode", or(sb+0x61, 0x4), "unknown incompatible features 0x400"},
		{"encryption", or(sb+0x62, 0x1), "unknown incompatible features 0x10000"},
		{"an unknown feature", or(sb+0x67, 0x80), "unknown read-only features 0x80000000"},
		{"an old revision", put(sb+0x4c, 0), "revision 0"},
		{"huge blocks", put(sb+0x18, 7), "block size"},
		{"more groups", put(sb+0x4, 1<<30), "groups of"},
		{"no inodes", put(sb+0x28, 0), "0 inodes"},
		{"odd inodes", func(p *pair) { p.upper[sb+0x58] = 200 }, "inodes of"},
		{"other identity", or(sb+0x68, 0xff), "not of the origin"},
		{"after e2fsck", put(sb+0x40, 1), "checked by e2fsck"},
		{"shrunk", func(p *pair) { p.lower = populated(t, "-g", "1024") }, "not of the origin"},
		{"another table", put(group+0x8, 100), "the inode table of group 0 was moved"},
		{"a table outside", put(group+0x8, 1<<30), "the inode table of group 0 is at block"},
		{"a short entry", put(rootBlock+4, 4), "directory 2: an entry has 4 bytes"},
		{"a long entry", put(rootBlock+4, 4096), "directory 2: an entry has 4096 bytes"},
		{"an entry outside", put(rootBlock+24, 1<<30), "directory 2: it has the name"},
		{"a slash", func(p *pair) { p.upper[rootBlock+24+8] = '/' }, "directory 2: it has the name"},
		{"an odd size", put(rootRecord+0x4, 100), "directory 2: it has 100 bytes"},
		{"a hole", put(rootRecord+0x4, 2048), "1 of its 2 blocks are mapped"},
		{"a hole at the beginning", put(rootRecord+0x28+12, 1), "the blocks from 0 to 1 are not mapped"},
		{"no extents", put(rootRecord+0x28, 0), "a node of the extent tree"},
		{"an extent outside", put(rootRecord+0x28+12+8, 1<<30), "directory 2: 1 blocks at block"},
		{"a link less", func(p *pair) { links(t, p.upper, "f", 2) }, "more names than links"},
		{"a link more", func(p *pair) { links(t, p.upper, "f", 4) }, "1 links more than names"},
		{"its own parent", func(p *pair) { parent(t, p.upper, "a", "a") }, "is in itself"},
		{"a false parent", func(p *pair) { parent(t, p.upper, "a", "large") }, "has no entry for 1 of its directories"},
		{"a file as the parent", func(p *pair) { parent(t, p.upper, "a", "f") }, "is not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pair{bytes.Clone(base), bytes.Clone(base)}
			p.touchAll(t)
			must(t, p.changed(t.Context()))
			tt.make(&p)
			err := p.changed(t.Context())
			var typed *Error
			if !errors.Is(err, fault.Unsupported) || !errors.As(err, &typed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %v with %q", err, fault.Unsupported, tt.want)
			}
		})
	}
}

// record returns the inode of a name in the root directory, and its record in the image.
func record(t testing.TB, image []byte, name string) inode {
	t.Helper()
	fs, err := open(t.Context(), "the test's file system", bytes.NewReader(image))
	must(t, err)
	root, err := fs.directory(rootInode)
	must(t, err)
	for e, err := range fs.list(root) {
		must(t, err)
		if string(e.name) == name {
			g, index := fs.place(e.inode)
			return inode{e.inode, image[fs.groups[g].table+index*fs.inodeSize:][:fs.inodeSize]}
		}
	}
	t.Fatalf("no file %s", name)
	return inode{}
}

func links(t testing.TB, image []byte, name string, n byte) { record(t, image, name).record[0x1a] = n }

func parent(t testing.TB, image []byte, name, above string) {
	fs, err := open(t.Context(), "the test's file system", bytes.NewReader(image))
	must(t, err)
	runs, err := fs.runs(record(t, image, name))
	must(t, err)
	binary.LittleEndian.PutUint32(image[runs[0].first*fs.blockSize+12:], record(t, image, above).number)
}

// A device that fails is not an unsupported file system: the walk would fail too.
func TestDeviceFails(t *testing.T) {
	base := populated(t)
	broken := errors.New("input/output error")
	_, err := Changed(t.Context(), bytes.NewReader(base), failing{broken}, everything(base))
	if !errors.Is(err, broken) || fault.KindOf(err) != fault.Unknown {
		t.Errorf("got %v, want %v without a kind", err, broken)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := Changed(ctx, bytes.NewReader(base), bytes.NewReader(base), everything(base)); err != broken { //nolint:errorlint // as it is
		t.Errorf("cancelled: got %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestRanges(t *testing.T) {
	base := populated(t)
	for _, ranges := range [][]Range{{{100, 10}, {50, 10}}, {{100, 10}, {105, 10}}, {{1 << 63, 10}}, {{10, 1<<64 - 1}}} {
		_, err := Changed(t.Context(), bytes.NewReader(base), bytes.NewReader(base), slices.Values(ranges))
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v, want %v", ranges, err, fault.Invalid)
		}
	}
	all, err := collect(slices.Values([]Range{{10, 10}, {20, 5}, {25, 0}, {30, 1}}))
	must(t, err)
	if want := (spans{{10, 25}, {30, 31}}); !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	for _, tt := range []struct {
		begin, end uint64
		want       []span
	}{{0, 10, nil}, {0, 11, []span{{10, 11}}}, {12, 14, []span{{12, 14}}}, {24, 40, []span{{24, 25}, {30, 31}}}, {25, 30, nil}, {31, 40, nil}} {
		if got := slices.Collect(all.within(tt.begin, tt.end)); !slices.Equal(got, tt.want) || all.touch(tt.begin, tt.end) != (got != nil) {
			t.Errorf("from %d to %d: got %v, want %v", tt.begin, tt.end, got, tt.want)
		}
	}
	empty, err := Changed(t.Context(), bytes.NewReader(base), bytes.NewReader(base), slices.Values([]Range(nil)))
	if err != nil || empty == nil || len(empty) != 0 {
		t.Errorf("no ranges: got %v, %v, want no paths", empty, err)
	}
}

// damage overwrites bytes of two images, as data has them: five bytes are the side and
// the offset, and the value. It returns a function that restores them.
func (p pair) damage(data []byte) (restore func()) {
	var undo []func()
	for ; len(data) >= 5; data = data[5:] {
		image, at := p.upper, binary.LittleEndian.Uint32(data)
		if at>>31 != 0 {
			image = p.lower
		}
		b := &image[(at&^(1<<31))%uint32(len(image))]
		was := *b
		*b = data[4]
		undo = append(undo, func() { *b = was })
	}
	return func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
}

// checkDamaged checks that a comparison ends soon, and without another error than
// Unsupported.
func checkDamaged(t *testing.T, p pair, data []byte) {
	t.Helper()
	defer p.damage(data)()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.changed(ctx); err != nil && fault.KindOf(err) != fault.Unsupported {
		t.Errorf("got %v, want %v or nothing", err, fault.Unsupported)
	}
}

// damagedKinds are the arguments of mkfs for file systems that are damaged.
func damagedKinds() [][]string {
	return [][]string{{"-O", "metadata_csum"}, {"-O", "^extent,^64bit"}, {"-O", "inline_data"}, {"-O", "meta_bg", "-g", "256"}}
}

func TestDamaged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, args := range damagedKinds() {
		base := populated(t, args...)
		p := pair{base, bytes.Clone(base)}
		p.touchAll(t)
		var interesting []uint32 // bytes that are not zero
		for at, b := range p.upper {
			if b != 0 {
				interesting = append(interesting, uint32(at))
			}
		}
		for range 2000 {
			var data []byte
			for range 1 + random.IntN(4) {
				at := interesting[random.IntN(len(interesting))]
				if random.IntN(4) == 0 {
					at |= 1 << 31
				}
				data = append(binary.LittleEndian.AppendUint32(data, at), []byte{0, 1, 0x80, 0xff, byte(random.IntN(256))}[random.IntN(5)])
			}
			checkDamaged(t, p, data)
			if t.Failed() {
				t.Fatalf("%v, seed %d, bytes %x", args, seed, data)
			}
		}
	}
}

func FuzzChanged(f *testing.F) {
	var pairs []pair
	for _, args := range damagedKinds() {
		base := populated(f, args...)
		p := pair{base, bytes.Clone(base)}
		p.touchAll(f)
		pairs = append(pairs, p)
	}
	for i := range pairs {
		f.Add(byte(i), []byte{0x38, 0x04, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		checkDamaged(t, pairs[int(kind)%len(pairs)], data)
	})
}

// TestSameRecord changes each bit of a record. Only the access time and the checksum do
// not count.
func TestSameRecord(t *testing.T) {
	for _, tt := range []struct {
		size, extra int
		ignored     []int
	}{
		{128, 0, []int{0x8, 0x9, 0xa, 0xb, 0x7c, 0x7d}},
		{256, 32, []int{0x8, 0x9, 0xa, 0xb, 0x7c, 0x7d, 0x82, 0x83, 0x8c, 0x8d, 0x8e, 0x8f}},
		{256, 4, []int{0x8, 0x9, 0xa, 0xb, 0x7c, 0x7d}}, // attributes begin before the access time
	} {
		was := inode{1, make([]byte, tt.size)}
		if tt.size > leastInode {
			was.record[0x80] = byte(tt.extra)
		}
		for at := range tt.size {
			now := inode{1, bytes.Clone(was.record)}
			now.record[at] ^= 0x40
			if same := sameRecord(was, now); same != slices.Contains(tt.ignored, at) {
				t.Errorf("%d bytes, extra %d: byte %#x differs: got same %t", tt.size, tt.extra, at, same)
			}
		}
	}
}

// TestNameless compares file systems of which an inode without a name has changed, such
// as that of a quota. This kernel may not mount them.
func TestNameless(t *testing.T) {
	for _, args := range [][]string{{"-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"}, {"-O", "orphan_file,has_journal"}} {
		image, err := os.ReadFile(format(t, 16*units.MiB, args...))
		must(t, err)
		p := pair{image, bytes.Clone(image)}
		p.touchAll(t)
		if err := p.changed(t.Context()); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestSuperblockCopies compares with the list of dumpe2fs: only the groups that have a
// copy decide where the descriptors are with meta_bg.
func TestSuperblockCopies(t *testing.T) {
	for _, args := range [][]string{nil, {"-O", "^sparse_super,^resize_inode"}, {"-O", "sparse_super2,^resize_inode"}} {
		image := format(t, 64*units.MiB, append([]string{"-b", "1024", "-g", "256"}, args...)...)
		f, err := os.Open(image)
		must(t, err)
		defer f.Close()
		fs, err := open(t.Context(), filepath.Base(image), f)
		must(t, err)
		magic := make([]byte, 2)
		for g := range fs.groupCount {
			must(t, fs.read(magic, (fs.firstBlock+g*fs.blocksPerGroup)*fs.blockSize+0x38))
			if has := magic[0] == 0x53 && magic[1] == 0xef; has != fs.hasSuperblock(g) {
				t.Errorf("%v: group %d: got %t, want %t", args, g, fs.hasSuperblock(g), has)
			}
		}
	}
}
