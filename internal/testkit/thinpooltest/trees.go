package thinpooltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// Metadata opens the metadata of a pool of the fake kernel, which writes no trees. They are
// built from what it has committed, and again when the superblock is read after another
// commit. A metadata snapshot stays readable as long as it is held, and is zeros
// afterwards. damage, if set, changes a block that is read.
func Metadata(store *dmtest.Store, path string, damage func(block uint64, b []byte)) (thinpool.MetadataFile, error) {
	disk, err := dmtest.OpenFileDisk(path)
	if err != nil {
		return nil, err
	}
	superblock := make([]byte, metadata.BlockSize)
	if _, err := disk.ReadAt(superblock, 0); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	contents, err := store.Contents(disk)
	if err != nil { // the superblock itself reports the fault
		if err := disk.Close(); err != nil {
			return nil, err
		}
		return metadata.Open(path)
	}
	image, err := build(contents)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return &trees{image: image, live: superblock, disk: disk, store: store, held: contents, damage: damage}, nil
}

type trees struct {
	image  sparse
	live   []byte // the superblock that image was built from
	disk   *dmtest.FileDisk
	store  *dmtest.Store
	held   dmtest.Contents
	damage func(block uint64, b []byte)
	mu     sync.Mutex
}

// sparse is an image and the zeros behind it. Each reading builds one, and most of a pool's
// metadata is free.
type sparse struct {
	*metadatatest.Image
	size int64
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(s.size-off, 0)))
	clear(p[:n])
	if off < int64(len(s.Bytes)) {
		copy(p[:n], s.Bytes[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (t *trees) Close() error { return t.disk.Close() }

func (t *trees) Size() (units.Bytes, error) { return units.Bytes(t.image.size), nil }

func (t *trees) ReadAt(p []byte, off int64) (int, error) {
	image, err := t.at(off)
	if err != nil {
		return 0, err
	}
	n, err := image.ReadAt(p, off)
	const size = int64(metadata.BlockSize)
	for at := int64(0); at+size <= int64(n) && off%size == 0; at += size {
		block, b := uint64((off+at)/size), p[at:at+size]
		if block == t.held.HeldRoot && block != 0 && !t.isHeld() {
			clear(b)
		}
		if t.damage != nil {
			t.damage(block, b)
		}
	}
	return n, err
}

// at builds the trees again if the superblock that is read has changed.
func (t *trees) at(off int64) (sparse, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if off != 0 {
		return t.image, nil
	}
	now := make([]byte, metadata.BlockSize)
	if _, err := t.disk.ReadAt(now, 0); err != nil || bytes.Equal(now, t.live) {
		return t.image, err
	}
	contents, err := t.store.Contents(t.disk)
	if err != nil {
		return sparse{}, err
	}
	image, err := build(contents)
	if err == nil {
		t.image, t.live = image, now
	}
	return t.image, err
}

func (t *trees) isHeld() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, err := t.store.Contents(t.disk)
	return err == nil && now.HeldRoot == t.held.HeldRoot && now.Held.Number == t.held.Held.Number
}

// build writes the trees in order, except for the held root, whose block the kernel has
// already reported.
func build(c dmtest.Contents) (sparse, error) {
	if c.HeldRoot == 0 {
		image, _, err := buildPlaced(c, nil)
		return image, err
	}
	_, s, err := buildPlaced(c, nil) // in order: the number of the allocation
	if err != nil {
		return sparse{}, err
	}
	next := uint64(0)
	image, _, err := buildPlaced(c, func() uint64 {
		switch next++; next {
		case s.HeldRoot:
			return c.HeldRoot
		case c.HeldRoot:
			return s.HeldRoot
		}
		return next
	})
	return image, err
}

func buildPlaced(c dmtest.Contents, place func() uint64) (sparse, metadata.Superblock, error) {
	image := &metadatatest.Image{}
	b, err := metadata.NewBuilder(image, metadata.BuildOptions{
		DataBlockSize: c.Block, DataBlocks: c.DataBlocks, MetadataBlocks: c.MetadataBlocks,
		Time: c.Time, TransactionID: c.TransactionID, UUID: c.UUID, NeedsCheck: c.NeedsCheck, Allocate: place,
	})
	if err != nil {
		return sparse{}, metadata.Superblock{}, err
	}
	if c.HeldRoot != 0 {
		if err := addDevices(b, c.Held.Devices); err != nil {
			return sparse{}, metadata.Superblock{}, err
		}
		if err := b.Hold(c.Held.Time, c.Held.TransactionID); err != nil {
			return sparse{}, metadata.Superblock{}, err
		}
	}
	if err := addDevices(b, c.Devices); err != nil {
		return sparse{}, metadata.Superblock{}, err
	}
	s, err := b.Finish()
	return sparse{image, int64(c.MetadataBlocks) * int64(metadata.BlockSize)}, s, err
}

func addDevices(b *metadata.Builder, devices []dmtest.Device) error {
	const leaf = 126 // entries, half of those that fit
	for _, d := range devices {
		var leaves []metadata.Subtree
		for left := d.Mappings; len(left) > 0; {
			n := min(leaf, len(left))
			if rest := len(left) - n; rest > 0 && rest < leaf {
				n = len(left) // the rest is too short for a leaf next to another
			}
			mappings := make([]metadata.Mapping, n)
			for i, m := range left[:n] {
				mappings[i] = metadata.Mapping(m)
			}
			left = left[n:]
			subtree, err := b.Leaf(mappings)
			if err != nil {
				return err
			}
			leaves = append(leaves, subtree)
		}
		root, err := b.Tree(leaves)
		if err != nil {
			return err
		}
		err = b.Device(metadata.Device{ID: d.ID, CreationTime: d.CreationTime, SnapshottedTime: d.SnapshottedTime}, root)
		if err != nil {
			return err
		}
	}
	return nil
}

func (d disks) Metadata(path string, _ bool) (thinpool.MetadataFile, error) {
	d.fixture.mu.Lock()
	damage := d.fixture.Damage[path]
	d.fixture.mu.Unlock()
	return Metadata(d.fixture.store, path, damage)
}

// RebuildMetadata recovers everything, because the store has it.
func (d disks) RebuildMetadata(_ context.Context, damaged, fresh string) (metadata.Repaired, error) {
	content, err := os.ReadFile(damaged)
	if err == nil {
		err = os.WriteFile(fresh, content, 0o600)
	}
	if err != nil {
		return metadata.Repaired{}, err
	}
	s, err := metadata.ReadSuperblockFile(fresh)
	return metadata.Repaired{Superblock: s}, err
}

// CopyMetadata is two steps: after the first one the target's blocks belong to neither.
func (d disks) CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error {
	err := d.fixture.steps.take("copy the blocks of "+from, func() error {
		d.fixture.setDamage(to, func(block uint64, b []byte) {
			if block != 0 {
				b[100] ^= 1
			}
		})
		return nil
	})
	if err != nil {
		return err
	}
	return d.fixture.steps.take("copy the superblock of "+from, func() error {
		err := d.LocalDisks.CopyMetadata(ctx, from, to, size)
		if err == nil {
			d.fixture.sameDamage(from, to)
		}
		return err
	})
}

// Rename moves the damage with the file.
func (d disks) Rename(from, to string) error {
	err := d.LocalDisks.Rename(from, to)
	if err == nil {
		d.fixture.sameDamage(from, to)
		d.fixture.setDamage(from, nil)
	}
	return err
}

func (f *Fixture) setDamage(path string, damage func(uint64, []byte)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Damage[path] = damage
}

func (f *Fixture) sameDamage(from, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Damage[to] = f.Damage[from]
}

func (d stepDisks) CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error {
	return d.take("copy metadata "+from, func() error { return d.Disks.CopyMetadata(ctx, from, to, size) })
}

func (d stepDisks) RebuildMetadata(ctx context.Context, damaged, fresh string) (metadata.Repaired, error) {
	return get(d.take, "rebuild "+damaged,
		func() (metadata.Repaired, error) { return d.Disks.RebuildMetadata(ctx, damaged, fresh) })
}

func (d stepDisks) ClearNeedsCheck(path string) error {
	return d.take("clear needs_check of "+path, func() error { return d.Disks.ClearNeedsCheck(path) })
}

func (d stepDisks) Metadata(path string, offline bool) (thinpool.MetadataFile, error) {
	return get(d.take, "open metadata "+path,
		func() (thinpool.MetadataFile, error) { return d.Disks.Metadata(path, offline) })
}
