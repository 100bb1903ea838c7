package thinpool

import (
	"errors"

	"thinctl/loopback"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Metadata files get their blocks from the start. Where a commit finds the host
// full, the kernel gives the metadata up until it was checked offline, and no
// volume can be removed to make room. Data may stay sparse: there a write fails
// and nothing else.

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

// growFile makes a backing's file that large, unless it is.
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

// withBlocks leaves metadata sparse where the file system cannot do otherwise.
func withBlocks(backing store.Backing, asked bool, do func(loopback.FileOptions) error) error {
	err := do(loopback.FileOptions{Preallocate: asked || backing.Path == metadataFile})
	if !asked && errors.Is(err, errors.ErrUnsupported) {
		err = do(loopback.FileOptions{})
	}
	return err
}
