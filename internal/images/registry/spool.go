package registry

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// spool is a blob in transfer: a file that one goroutine writes and others read.
//
//	waiting --begin--> coming --transfer--> there --last reader--> dropped
//	   |                  +------------> failed
//	   +--open: read past us--> passed
type spool struct {
	ctx    context.Context // of all transfers
	layer  int
	source v1.Layer
	id     v1.Hash
	digest v1.Hash
	blob   v1.Descriptor
	dir    string
	room   *room

	mu      sync.Mutex
	changed *sync.Cond // state, size or failed
	state   state
	file    *os.File
	size    int64
	failed  error
	left    chan struct{} // closed when the state is no longer waiting
	readers int           // layers that were not read to their end yet
	active  int           // open readers
}

type state int

const (
	waiting state = iota
	coming
	there
	failed
	dropped
	passed
)

func newSpool(ctx context.Context, i int, source v1.Layer, dir string, room *room) (*spool, error) {
	s := &spool{ctx: ctx, layer: i, source: source, dir: dir, room: room, left: make(chan struct{})}
	s.changed = sync.NewCond(&s.mu)
	var err error
	if s.id, err = source.DiffID(); err != nil {
		return nil, err
	}
	if s.digest, err = source.Digest(); err != nil {
		return nil, err
	}
	if s.blob.Size, err = source.Size(); err != nil {
		return nil, err
	}
	s.blob.Digest = s.digest
	s.blob.MediaType, err = source.MediaType()
	return s, err
}

// begin is false where somebody reads the layer without us already.
func (s *spool) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != waiting {
		return false
	}
	s.leave(coming)
	return true
}

func (s *spool) reached() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *spool) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == waiting || s.state == coming {
		s.failed = err
		s.leave(failed)
		s.changed.Broadcast()
	}
}

// leave sets the state. The caller holds s.mu.
func (s *spool) leave(to state) {
	if s.state == waiting {
		close(s.left)
	}
	s.state = to
}

// transfer fetches the blob.
func (s *spool) transfer(ctx context.Context, tell func(*spool, bool)) error {
	err := s.fill(ctx, tell)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		s.fail(err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = there
	s.changed.Broadcast()
	return nil
}

func (s *spool) fill(ctx context.Context, tell func(*spool, bool)) error {
	file, err := nameless(s.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.file = file
	s.mu.Unlock()
	r, err := compressed(ctx, s.source)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(growing{s, tell}, r, make([]byte, 256<<10))
	return errors.Join(err, r.Close())
}

// growing writes a spool.
type growing struct {
	s    *spool
	tell func(*spool, bool)
}

func (g growing) Write(p []byte) (int, error) {
	n, err := g.s.file.Write(p)
	g.s.mu.Lock()
	g.s.size += int64(n)
	g.s.changed.Broadcast()
	g.s.mu.Unlock()
	g.tell(g.s, false)
	if err != nil {
		err = &Error{Err: err, Detail: "cannot store the layer", Remedy: "set TMPDIR to a directory with free space"}
	}
	return n, err
}

// open opens a reader. If there is no space for the layer, it is read from the registry
// directly: a wait for space must not wait for this reader.
func (s *spool) open() (io.ReadCloser, error) {
	select {
	case <-s.left:
	case <-s.room.scarce():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case waiting:
		s.leave(passed)
		fallthrough
	case passed, dropped:
		return compressed(s.ctx, s.source)
	}
	s.active++
	return &following{s: s}, nil
}

// following reads a spool from its beginning, and waits for data that has not arrived yet.
type following struct {
	s      *spool
	at     int64
	ended  bool
	closed bool
}

func (f *following) Read(p []byte) (int, error) {
	if f.closed {
		return 0, os.ErrClosed
	}
	file, size, err := f.wait()
	switch {
	case err != nil:
		return 0, err
	case f.at == size:
		f.ended = true
		return 0, io.EOF
	}
	n, err := file.ReadAt(p[:min(int64(len(p)), size-f.at)], f.at)
	f.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// wait waits until there is more data than was read, or all, and returns the size.
func (f *following) wait() (*os.File, int64, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.state == coming && s.size == f.at {
		s.changed.Wait()
	}
	if s.file == nil && s.failed == nil {
		return nil, 0, os.ErrClosed
	}
	return s.file, s.size, s.failed
}

func (f *following) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if f.ended {
		s.readers--
	}
	if s.readers <= 0 && s.active == 0 && s.state == there {
		return s.release()
	}
	return nil
}

// drop deletes the data when the transfers have ended.
func (s *spool) drop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.release()
}

// release frees the file's space. The caller holds s.mu.
func (s *spool) release() error {
	if s.state == there {
		s.state = dropped
	}
	file := s.file
	s.file = nil
	if file == nil {
		return nil
	}
	s.room.give(s.blob.Size)
	return file.Close()
}
