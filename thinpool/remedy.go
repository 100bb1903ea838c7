package thinpool

import (
	"errors"
	"fmt"
	"io/fs"

	"thinctl/loopback"
	"thinctl/thinpool/store"
)

// The remedies that need no command. Several of them state what is lost without the
// missing part, and what is kept.
const (
	onlyNames = "without it the contents of all volumes are lost, and only their names and sizes are kept"
	onlyEnd   = "without it the data beyond the end is lost, all else is kept"

	remedyNoMetadata   = "put it back, or restore it from a copy: " + onlyNames // with CureDestroy
	remedyNoData       = "put it back: " + onlyNames                            // with CureDestroy
	remedyLargerFile   = "put the larger file back: " + onlyEnd
	remedyLargerDevice = "put the larger device back: " + onlyEnd
	remedyOwnMetadata  = "put this pool's own metadata back"
	// remedyOtherMetadata is for metadata that the kernel must not use.
	remedyOtherMetadata = remedyOwnMetadata + "; " +
		"without it the contents of its volumes are lost, and only their names and sizes are kept"
	// remedyAgree is for a database and metadata of different moments, with CureAgree.
	remedyAgree = "restore the other one from a copy of the same moment if there is one"
	// warnOlder is for metadata that is older than the pool.
	warnOlder = "the metadata is older than the database: " +
		"later writes are lost, and blocks of one volume may belong to another: " +
		"check the file systems before you mount the volumes"
)

// failed wraps an error of the layers below. It leaves an error of this package as it is.
func (p *Pool) failed(op string, err error) error {
	var poolErr *Error
	if err == nil || errors.As(err, &poolErr) {
		return err
	}
	e := &Error{Op: op, Object: p.object(), Err: err}
	switch {
	case errors.Is(err, loopback.ErrExhausted):
		e.Cure = p.cure(CureFreeLoops)
	case errors.Is(err, loopback.ErrNoSpace):
		e.Remedy = fmt.Sprintf("free some space on the file system of %s, or use smaller sizes", p.dir)
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNoDatabase):
		e.Cure = p.cure(CureRestoreDatabase)
	case errors.Is(err, fs.ErrNotExist):
		e.Remedy = p.putBack()
	}
	return e
}

// putBack is for missing files or devices.
func (p *Pool) putBack() string {
	return fmt.Sprintf("put back what is missing, or restore %s from a copy: "+
		"without it its contents are lost, all else is kept", p.dir)
}

// nothingLeft is for a pool with neither a database nor readable metadata.
func (p *Pool) nothingLeft() string {
	return fmt.Sprintf("put the metadata or %s back: "+
		"without both, names and contents of all volumes are lost, and only the data without its order is kept; "+
		"to give the pool up, remove %s", p.path(databaseFile), p.dir)
}
