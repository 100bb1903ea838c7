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
	// Accept has the paths of disks or files that replace the expected ones, for
	// example a copy of a disk or a restored file. Each must hold the pool's mark or
	// metadata, or be the expected disk or file with other contents.
	Accept []string
}

// accept opens the disks that the caller gives in place of the recorded ones.
func (p *Pool) accept(c *claims, paths []string) error {
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		held, err := p.host.Disks.Open(path)
		if err != nil {
			return &Error{
				Op:     "activate",
				Object: p.object(),
				Kind:   ErrGone,
				Err:    err,
				Remedy: "use the path of an existing disk or file",
			}
		}
		role, backing := &c.data, &c.record.Data
		super, err := p.readSuperblock(held)
		switch {
		case err == nil && super.UUID == p.id:
			role, backing = &c.metadata, &c.record.Metadata
		case p.marked(held, backing.Size), p.expected(held, *backing):
		default:
			held.Close()
			return &Error{
				Op:     "activate",
				Object: p.object(),
				Kind:   ErrForeign,
				Detail: fmt.Sprintf(
					"%s carries neither the mark nor the metadata of pool %s",
					describe(path, held.About()),
					p.id,
				),
				Remedy: "use a disk that holds this pool's data or metadata",
			}
		}
		if *role != nil {
			held.Close()
			return &Error{
				Op:     "activate",
				Object: p.object(),
				Kind:   fault.Invalid,
				Detail: "two disks were given for one part of the pool",
				Remedy: "use one disk for each part",
			}
		}
		*role = held
		if err := p.acceptAs(held, backing, path); err != nil {
			return err
		}
	}
	return nil
}

// expected reports whether a disk is the recorded one. It does not check the contents.
func (p *Pool) expected(held Disk, backing store.Backing) bool {
	if backing.Loop {
		same, err := held.IsAt(p.path(backing.Path))
		return err == nil && same
	}
	return backing.Identity.Compare(held.About().Identity) == disk.Same
}

// acceptAs records the path and identity of an accepted disk. A file must have the
// recorded path.
func (p *Pool) acceptAs(held Disk, backing *store.Backing, path string) error {
	if backing.Loop {
		if !p.expected(held, *backing) {
			return &Error{
				Op:     "activate",
				Object: p.object(),
				Kind:   ErrForeign,
				Detail: fmt.Sprintf("this part of the pool is the file %s", p.path(backing.Path)),
				Remedy: fmt.Sprintf("move %s there", path),
			}
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
