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

// Only the database has the names and sizes of volumes, and the documents of images,
// layers and containers. So a compressed copy of the whole database is kept beside it. A
// process that has changed the pool makes the copy when it closes the pool; a process
// that keeps the pool open makes it once a minute. A whole copy needs no format of its
// own. After a restore, a volume that is newer than the copy keeps its data and loses its
// name.
const (
	copyFile       = "state.db.gz"         // the newest copy
	keptDatabase   = "state.db.before-"    // a copy of the database as a repair found it
	brokenDatabase = "state.db.damaged-"   // a damaged database, as it was
	freshDatabase  = "state.db.rebuilding" // an unfinished new database; it can be removed
)

// CopyDatabase copies the database, so that a repair can restore it. It does nothing if
// the present copy is of the same moment.
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

// freeTimeName returns an unused path with the time in its name. A killed repair may
// have used the same second.
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

// isPoolDir reports whether a directory without a database has other files of a pool.
func isPoolDir(dir string) bool {
	for _, name := range []string{copyFile, metadataFile, rebuiltFile, restoringFile, dataFile, freshDatabase, mountsDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// lostDatabase reports whether the pool's directory has files of a pool. The caller has
// found no database in it.
func (p *Pool) lostDatabase() bool { return isPoolDir(p.dir) }

// unreadable returns the error for a database that is missing or damaged.
func (p *Pool) unreadable(op string, err error) error {
	if errors.Is(err, store.ErrNoDatabase) || errors.Is(err, store.ErrCorrupt) {
		return &Error{Op: op, Object: p.object(), Kind: fault.Unhealthy, Err: err, Cure: p.cure(CureRestoreDatabase)}
	}
	return p.failed(op, err)
}
