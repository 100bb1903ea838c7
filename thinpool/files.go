package thinpool

import (
	"errors"

	"thinctl/loopback"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// All blocks of a metadata file are allocated when it is made. If the host is full at a
// commit, the kernel sets needs_check: the pool is read-only until the metadata was
// checked offline, and no volume can be removed to free space. Data may stay sparse: a
// full host makes only the write fail.

// makeFile makes a backing's file.
func (p *Pool) makeFile(path string, backing store.Backing, size units.Bytes, preallocate bool) error {
	return withBlocks(backing, preallocate, func(options loopback.FileOptions) error {
		return p.host.Disks.CreateSparse(path, size, options)
	})
}

// makeMountsDir makes the directory of mounts if a copy of the pool's directory has
// left it out.
func (p *Pool) makeMountsDir() error {
	if there, err := exists(p.MountsDir()); err != nil || there {
		return err
	}
	return p.host.Disks.MakeDir(p.MountsDir())
}

// growFile grows a backing's file to size, unless it is as large.
func (p *Pool) growFile(record store.Pool, backing store.Backing, size units.Bytes) error {
	path := p.path(backing.Path)
	usage, err := p.host.Disks.Usage(path)
	if err != nil || usage.Apparent >= size {
		return err
	}
	return withBlocks(backing, record.Preallocated, func(options loopback.FileOptions) error {
		return p.host.Disks.Grow(path, size, options)
	})
}

// withBlocks runs do with the options of a backing's file. Metadata stays sparse if the
// file system cannot preallocate.
func withBlocks(backing store.Backing, asked bool, do func(loopback.FileOptions) error) error {
	err := do(loopback.FileOptions{Preallocate: asked || backing.Path == metadataFile})
	if !asked && errors.Is(err, errors.ErrUnsupported) {
		err = do(loopback.FileOptions{})
	}
	return err
}
