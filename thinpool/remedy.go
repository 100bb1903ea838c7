package thinpool

import (
	"errors"
	"fmt"
	"io/fs"

	"thinctl/loopback"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// What an error says to do next. A remedy either names a command in backquotes
// that leads on, or says what is lost without what is missing, and what is kept.

// remedy is what to do about an error of a layer below, which does not know of
// pools; "" where there is nothing to say but the error.
func (p *Pool) remedy(err error) string {
	switch {
	case errors.Is(err, loopback.ErrExhausted):
		return "`losetup --list` shows who has the loop devices: detach what nobody needs"
	case errors.Is(err, loopback.ErrNoSpace):
		return fmt.Sprintf("free some of %s's file system, or give smaller sizes", p.dir)
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNoDatabase):
		return p.rebuildIt()
	case errors.Is(err, fs.ErrNotExist):
		return p.putBack()
	}
	return ""
}

func (p *Pool) checkIt() string { return fmt.Sprintf("run `thinctl pool check %s`", p.name) }

func (p *Pool) repairIt() string { return fmt.Sprintf("run `thinctl pool repair %s`", p.name) }

// repairOffline is for an active pool that is repaired while it is inactive.
func (p *Pool) repairOffline() string {
	return fmt.Sprintf("`thinctl pool deactivate %[1]s`, then `thinctl pool repair %[1]s`", p.name)
}

// rebuildIt is for a database that is gone or damaged.
func (p *Pool) rebuildIt() string {
	return fmt.Sprintf("`thinctl pool repair %s` restores it from its copy and the metadata", p.name)
}

// agreeIt is for a database and metadata of different moments.
func (p *Pool) agreeIt() string {
	return fmt.Sprintf("put the other one of the same moment back if there is one; otherwise `thinctl pool repair %s` makes the database agree with the metadata", p.name)
}

// putBack is for files or devices that are not there.
func (p *Pool) putBack() string {
	return fmt.Sprintf("put back what is missing, or restore %s from a copy: what was in it is lost without, all else is kept", p.dir)
}

// otherMetadata is for metadata of another pool.
func (p *Pool) otherMetadata() string {
	return "put this pool's own metadata back; without it the contents of its volumes are lost, and only their names and sizes are kept"
}

// noMetadata is for metadata that is gone or of which nothing can be read.
func (p *Pool) noMetadata() string {
	return fmt.Sprintf("put it back, or restore it from a copy: without it the contents of all volumes are lost, and only their names and sizes are kept; `thinctl pool destroy %s --yes` gives the pool up", p.name)
}

// noData is for data that is not there.
func (p *Pool) noData() string {
	return fmt.Sprintf("put it back: without it the contents of all volumes are lost, and only their names and sizes are kept; `thinctl pool destroy %s --yes` gives the pool up", p.name)
}

// shortFile is for a file of the pool that ends too soon.
func (p *Pool) shortFile(role, path string, size units.Bytes) string {
	goOn := fmt.Sprintf("`truncate --size %d %s`", uint64(size), path)
	if role == "data" {
		goOn = fmt.Sprintf("`thinctl pool activate %s --accept %s`", p.name, path)
	}
	return fmt.Sprintf("put the larger file back: what lay beyond its end is lost without it, all else is kept; to go on without, %s has that read as zeros", goOn)
}

// largerDevice is for a device that is smaller than the pool's.
func (p *Pool) largerDevice() string {
	return "put the larger device back: what lay beyond its end is lost without it, all else is kept"
}

// nothingLeft is for a pool without a database of which the metadata cannot be
// read either.
func (p *Pool) nothingLeft() string {
	return fmt.Sprintf("put the metadata or %s back: without both, names and contents of all volumes are lost, and what is kept is the unsorted data; remove %s to give the pool up", p.path(databaseFile), p.dir)
}

// nameDevice is for a pool without a database on block devices.
func (p *Pool) nameDevice(what, flag string) string {
	return fmt.Sprintf("if the pool is on files, put it back; if it is on block devices, name that of the %s: thinctl pool repair %s %s PATH; without it the contents of all volumes are lost, and what is kept is what lies in %s", what, p.name, flag, p.dir)
}

// olderMetadata warns of volumes in metadata that is older than the pool.
func (p *Pool) olderMetadata() string {
	return "the metadata is older than the database: what was written since is lost, and blocks of a volume may have been given to another: check the file systems before volumes are mounted"
}
