package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"thinctl/internal/disk"
	"thinctl/internal/filelock"
	"thinctl/units"
)

// session is an open database file. Opening the file, mapping it and reading its free
// list cost more than most transactions, so a session outlives them. The lock does not:
// another process may write between two transactions. bbolt keeps the free list and the
// size of the map in memory. These are valid only if no other process has committed,
// which the fields left and newest show.
type session struct {
	file     *os.File
	bolt     *bolt.DB
	writable bool
	left     fs.FileInfo // the file as the last transaction left it
	newest   int         // bbolt's id of the newest commit; -1 before the first transaction
	size     units.Bytes // of the pages in use and free, at the last transaction
}

var errStale = errors.New("another process has written the database since")

// smallest is the size of bbolt's two meta pages.
const smallest = 2 * 4096

// openSession opens the file and takes its lock, a shared lock unless write is set. It
// is the flock lock that bbolt itself takes. So bbolt never waits for the lock, which it
// polls only every 50 ms, and other programs that use bbolt are excluded too.
func openSession(ctx context.Context, path string, write bool) (*session, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	for {
		file, err := os.OpenFile(path, flags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", path, ErrNoDatabase)
		}
		if err != nil {
			return nil, fmt.Errorf("opening the database: %w", err)
		}
		s := &session{file: file, writable: write, newest: -1}
		if err := s.lock(ctx, write); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if s.left, err = file.Stat(); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if !s.unchanged(path) { // replaced while the lock was waited for
			if err := errors.Join(file.Close(), ctx.Err()); err != nil {
				return nil, err
			}
			continue
		}
		// bbolt would make a new database of an empty file.
		if size := s.left.Size(); size < smallest {
			return nil, errors.Join(fmt.Errorf("%s: %w: it has %d bytes", path, ErrCorrupt, size), file.Close())
		}
		if err := s.open(path); err != nil {
			file.Close()
			return nil, err
		}
		return s, nil
	}
}

func (s *session) open(path string) (err error) {
	defer s.survive(&err)()
	if err := s.checkPages(); err != nil {
		return err
	}
	s.bolt, err = bolt.Open(path, 0o600, &bolt.Options{
		ReadOnly:     !s.writable,
		Timeout:      10 * time.Second,
		FreelistType: bolt.FreelistMapType,
		NoStatistics: true,
		OpenFile:     func(string, int, fs.FileMode) (*os.File, error) { return s.file, nil },
	})
	if errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) ||
		errors.Is(err, bolterrors.ErrVersionMismatch) {
		return fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	}
	if err != nil {
		return fmt.Errorf("opening the database %s: %w", path, err)
	}
	return nil
}

// pageBuffers holds buffers of checkPages. A process opens the database again after
// each commit of another process, and fresh memory costs more than the check.
var pageBuffers sync.Pool

// checkPages rejects a file with damaged pages, on which bbolt would panic.
func (s *session) checkPages() error {
	buffer, _ := pageBuffers.Get().(*[]byte)
	if buffer == nil || int64(cap(*buffer)) < s.left.Size() {
		grown := make([]byte, s.left.Size())
		buffer = &grown
	}
	defer pageBuffers.Put(buffer)
	file := (*buffer)[:s.left.Size()]
	if _, err := s.file.ReadAt(file, 0); err != nil {
		return fmt.Errorf("reading the database %s: %w", s.file.Name(), err)
	}
	if err := checkPages(file); err != nil {
		return fmt.Errorf("%s: %w", s.file.Name(), err)
	}
	return nil
}

func (s *session) lock(ctx context.Context, write bool) error {
	return filelock.AcquireFile(ctx, s.file, !write)
}

func (s *session) unlock() error { return filelock.ReleaseFile(s.file) }

// unchanged reports whether path still leads to the file that the last transaction left.
// The timestamps of files are coarse, so it may miss a commit, which run detects. Only
// unchanged detects a file that was overwritten in place, and its map must not be used.
func (s *session) unchanged(path string) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(now, s.left) && now.Size() == s.left.Size() &&
		now.ModTime().Equal(s.left.ModTime())
}

// survive turns a panic of bbolt over a damaged file into an error. Only the two meta
// pages have checksums: damage elsewhere makes bbolt panic, and access to the missing
// pages of a truncated file is a fault in the map.
func (s *session) survive(err *error) (done func()) {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if broken := recover(); broken != nil {
			*err = fmt.Errorf("%s: %w: %v", s.file.Name(), ErrCorrupt, broken)
		}
	}
}

// run runs one transaction under the lock. The error is errStale if another process has
// committed; then run has done nothing. The caller closes the session unless sound.
func (s *session) run(write bool, f func(*bolt.Tx) error) (sound bool, err error) {
	defer s.survive(&err)()
	var bodyErr error
	body := func(tx *bolt.Tx) error {
		newest := tx.ID()
		if write {
			newest-- // its own is the next
		}
		if s.newest >= 0 && s.newest != newest {
			bodyErr = errStale
			return bodyErr
		}
		s.newest = newest
		s.size = units.Bytes(tx.Size())
		bodyErr = f(tx)
		return bodyErr
	}
	if !write {
		err = s.bolt.View(body)
		return err == nil || bodyErr != nil && !errors.Is(bodyErr, errStale), err
	}
	if err = s.bolt.Update(body); err != nil {
		// After a failed commit, bbolt's memory may differ from the file.
		return bodyErr != nil && !errors.Is(bodyErr, errStale), err
	}
	s.newest++
	s.keepHeadroom()
	if s.left, err = s.file.Stat(); err != nil {
		return false, nil // the commit is done
	}
	return true, nil
}

// The file is allocated in advance, so that a removal has free space for its pages when
// the host's file system is full.
const (
	headroom    = units.MiB
	minHeadroom = 256 * units.KiB
)

// keepHeadroom allocates more of the file if little is left. If that fails because the
// host is full, the next commit tries again.
func (s *session) keepHeadroom() {
	if allocated, err := disk.Allocated(s.file); err == nil && allocated < s.size+minHeadroom {
		_ = disk.Allocate(s.file, s.size+headroom)
	}
}

func (s *session) close() error {
	if s.bolt == nil {
		return s.file.Close()
	}
	return s.bolt.Close() // unlocks and closes the file
}
