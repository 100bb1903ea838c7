package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thinctl/fault"
	"thinctl/thinpool/store"
)

// The metadata has neither names nor sizes, nor what images, layers and containers
// are made of: all that is in the database only. So there is a copy of the whole
// database beside it, compressed, made when a process that has changed the pool
// closes it and once a minute by one that stays. A whole copy has no format of its
// own that could fall behind the database's, and restoring it leaves what a
// database older than the metadata leaves: what was made since the copy keeps its
// data and loses its name.
const (
	copyFile       = "state.db.gz"         // the newest copy
	keptDatabase   = "state.db.before-"    // a copy of the database as a repair found it
	brokenDatabase = "state.db.damaged-"   // a damaged database, as it was
	freshDatabase  = "state.db.rebuilding" // being made; to be thrown away
)

// CopyDatabase makes the copy of the database from which a repair restores it,
// unless there is one of the same moment.
func (p *Pool) CopyDatabase(ctx context.Context) error {
	err := p.copyDatabase(ctx)
	if errors.Is(err, store.ErrNoDatabase) {
		return nil // the pool was destroyed
	}
	return p.failed("copy the database of", err)
}

func (p *Pool) copyDatabase(ctx context.Context) error {
	if file, err := os.Open(p.path(copyFile)); err == nil {
		defer file.Close()
		if newest, err := p.db.IsNewest(ctx, file); err != nil || newest {
			return err
		}
	}
	content, err := p.db.Copy(ctx)
	if err != nil {
		return err
	}
	return p.host.Disks.WriteFile(p.path(copyFile), content)
}

// keepDatabase keeps a copy of the database before a repair drops records.
func (p *Pool) keepDatabase(ctx context.Context) (string, error) {
	content, err := p.db.Copy(ctx)
	if err != nil {
		return "", err
	}
	name := p.freeTimeName(keptDatabase, ".gz")
	return name, p.host.Disks.WriteFile(name, content)
}

// freeTimeName is a name with the time in it that no file has: a repair that was
// killed may have used the same second.
func (p *Pool) freeTimeName(prefix, suffix string) string {
	first := p.path(prefix + p.host.now().Format("20060102T150405Z"))
	name := first + suffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s-%d%s", first, n, suffix)
	}
}

// isPoolDir reports whether a directory without a database is a pool's.
func isPoolDir(dir string) bool {
	for _, name := range []string{copyFile, metadataFile, rebuiltFile, restoringFile, dataFile, freshDatabase, mountsDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// lostDatabase reports whether the pool's directory is there without a database.
func (p *Pool) lostDatabase() bool { return isPoolDir(p.dir) }

// unreadable is the error of a database that is gone or damaged.
func (p *Pool) unreadable(op string, err error) error {
	if errors.Is(err, store.ErrNoDatabase) || errors.Is(err, store.ErrCorrupt) {
		return &Error{Op: op, Object: p.object(), Kind: fault.Unhealthy, Err: err, Remedy: p.rebuildIt()}
	}
	return p.failed(op, err)
}
