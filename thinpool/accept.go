package thinpool

import (
	"fmt"
	"path/filepath"

	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/thinpool/store"
)

// ActivateOptions change what an activation accepts.
type ActivateOptions struct {
	// Accept names disks or files to use although the pool expects others: a copy
	// of a disk, or a file that was restored. Each must carry the pool's mark or
	// metadata, or be the disk or file that is expected, with other contents.
	Accept []string
}

// accept opens the disks that the caller names in place of what is recorded.
func (p *Pool) accept(c *claims, paths []string) error {
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		held, err := p.host.Disks.Open(path)
		if err != nil {
			return &Error{Op: "activate", Object: p.object(), Kind: ErrGone, Err: err, Remedy: "give the path of a disk or file that is there"}
		}
		role, backing := &c.data, &c.record.Data
		super, err := p.readSuperblock(held)
		switch {
		case err == nil && super.UUID == p.id:
			role, backing = &c.metadata, &c.record.Metadata
		case p.marked(held, backing.Size), p.expected(held, *backing):
		default:
			held.Close()
			return &Error{Op: "activate", Object: p.object(), Kind: ErrForeign,
				Detail: fmt.Sprintf("%s carries neither the mark nor the metadata of pool %s", describe(path, held.About()), p.id),
				Remedy: "give a disk that holds this pool's data or metadata"}
		}
		if *role != nil {
			held.Close()
			return &Error{Op: "activate", Object: p.object(), Kind: fault.Invalid, Detail: "two disks are given for one part of the pool", Remedy: "give one"}
		}
		*role = held
		if err := p.acceptAs(held, backing, path); err != nil {
			return err
		}
	}
	return nil
}

// expected reports whether a disk is the one that is recorded, whatever it holds.
func (p *Pool) expected(held Disk, backing store.Backing) bool {
	if backing.Loop {
		led, err := held.IsAt(p.path(backing.Path))
		return err == nil && led
	}
	return backing.Identity.Compare(held.About().Identity) == disk.Same
}

func (p *Pool) acceptAs(held Disk, backing *store.Backing, path string) error {
	if backing.Loop {
		if !p.expected(held, *backing) {
			return &Error{Op: "activate", Object: p.object(), Kind: ErrForeign, Detail: fmt.Sprintf("this part of the pool is the file %s", p.path(backing.Path)),
				Remedy: fmt.Sprintf("move %s there", path)}
		}
		return nil
	}
	all, err := p.hostDisks()
	if err != nil {
		return p.failed("activate", err)
	}
	backing.Path, backing.Identity = path, unique(held.About(), all)
	return nil
}
