package thinpool

import (
	"errors"
	"fmt"
	"io/fs"

	"thinctl/loopback"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// A remedy either names the next command in backquotes, or states what is lost without the
// missing part, and what is kept.

// remedy returns the remedy for an error of a layer below, or "".
func (p *Pool) remedy(err error) string {
	switch {
	case errors.Is(err, loopback.ErrExhausted):
		return "`losetup --list` shows the loop devices: detach those that are not needed"
	case errors.Is(err, loopback.ErrNoSpace):
		return fmt.Sprintf("free some space on the file system of %s, or use smaller sizes", p.dir)
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNoDatabase):
		return p.rebuildIt()
	case errors.Is(err, fs.ErrNotExist):
		return p.putBack()
	}
	return ""
}

func (p *Pool) checkIt() string { return fmt.Sprintf("run `thinctl pool check %s`", p.name) }

func (p *Pool) repairIt() string { return fmt.Sprintf("run `thinctl pool repair %s`", p.name) }

// repairOffline is for an active pool that must be inactive during the repair.
func (p *Pool) repairOffline() string {
	return fmt.Sprintf("`thinctl pool deactivate %[1]s`, then `thinctl pool repair %[1]s`", p.name)
}

// rebuildIt is for a missing or damaged database.
func (p *Pool) rebuildIt() string {
	return fmt.Sprintf("`thinctl pool repair %s` restores it from its copy and the metadata", p.name)
}

// agreeIt is for a database and metadata of different moments.
func (p *Pool) agreeIt() string {
	return fmt.Sprintf("restore the other one from a copy of the same moment if there is one; "+
		"otherwise `thinctl pool repair %s` makes the database agree with the metadata", p.name)
}

// putBack is for missing files or devices.
func (p *Pool) putBack() string {
	return fmt.Sprintf("put back what is missing, or restore %s from a copy: "+
		"without it its contents are lost, all else is kept", p.dir)
}

// otherMetadata is for metadata of another pool.
func (p *Pool) otherMetadata() string {
	return "put this pool's own metadata back; " +
		"without it the contents of its volumes are lost, and only their names and sizes are kept"
}

// noMetadata is for metadata that is missing or unreadable.
func (p *Pool) noMetadata() string {
	return fmt.Sprintf("put it back, or restore it from a copy: "+
		"without it the contents of all volumes are lost, and only their names and sizes are kept; "+
		"to give the pool up, run `thinctl pool destroy %s --yes`", p.name)
}

// noData is for missing data.
func (p *Pool) noData() string {
	return fmt.Sprintf("put it back: "+
		"without it the contents of all volumes are lost, and only their names and sizes are kept; "+
		"to give the pool up, run `thinctl pool destroy %s --yes`", p.name)
}

// shortFile is for a file of the pool that is too short.
func (p *Pool) shortFile(role, path string, size units.Bytes) string {
	goOn := fmt.Sprintf("`truncate --size %d %s`", uint64(size), path)
	if role == "data" {
		goOn = fmt.Sprintf("`thinctl pool activate %s --accept %s`", p.name, path)
	}
	return fmt.Sprintf("put the larger file back: "+
		"without it the data beyond the end is lost, all else is kept; "+
		"to use the pool without it, run %s: that data then reads as zeros", goOn)
}

// largerDevice is for a device that is smaller than the pool's.
func (p *Pool) largerDevice() string {
	return "put the larger device back: without it the data beyond the end is lost, all else is kept"
}

// nothingLeft is for a pool with neither a database nor readable metadata.
func (p *Pool) nothingLeft() string {
	return fmt.Sprintf("put the metadata or %s back: "+
		"without both, names and contents of all volumes are lost, and only the data without its order is kept; "+
		"to give the pool up, remove %s", p.path(databaseFile), p.dir)
}

// nameDevice is for a pool without a database on block devices.
func (p *Pool) nameDevice(what, flag string) string {
	return fmt.Sprintf("if the pool is on files, put it back; "+
		"if it is on block devices, name that of the %s: thinctl pool repair %s %s PATH; "+
		"without it the contents of all volumes are lost, and only the files in %s are kept", what, p.name, flag, p.dir)
}

// olderMetadata warns of volumes in metadata that is older than the pool.
func (p *Pool) olderMetadata() string {
	return "the metadata is older than the database: " +
		"later writes are lost, and blocks of one volume may belong to another: " +
		"check the file systems before you mount the volumes"
}
