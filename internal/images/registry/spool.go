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
//	pending --start--> receiving --transfer--> complete --last reader--> deleted
//	   |                   +--error--> failed
//	   +--open while the quota is exhausted--> bypassed
type spool struct {
	ctx    context.Context // of all transfers
	layer  int
	source v1.Layer
	id     v1.Hash
	digest v1.Hash
	blob   v1.Descriptor
	dir    string
	quota  *diskQuota

	mu      sync.Mutex
	changed *sync.Cond // broadcast when state, size or err changes
	state   spoolState
	file    *os.File
	size    int64
	err     error
	started chan struct{} // closed when the state is no longer pending
	readers int           // layers that were not read to their end yet
	active  int           // open readers
}

type spoolState int

const (
	spoolPending spoolState = iota
	spoolReceiving
	spoolComplete
	spoolFailed
	spoolDeleted
	spoolBypassed
)

func newSpool(ctx context.Context, i int, source v1.Layer, dir string, quota *diskQuota) (*spool, error) {
	s := &spool{ctx: ctx, layer: i, source: source, dir: dir, quota: quota, started: make(chan struct{})}
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

// start reports whether the transfer may start: false if a reader already reads the layer
// from the registry.
func (s *spool) start() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != spoolPending {
		return false
	}
	s.setState(spoolReceiving)
	return true
}

func (s *spool) received() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *spool) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == spoolPending || s.state == spoolReceiving {
		s.err = err
		s.setState(spoolFailed)
		s.changed.Broadcast()
	}
}

// setState sets the state. The caller holds s.mu.
func (s *spool) setState(to spoolState) {
	if s.state == spoolPending {
		close(s.started)
	}
	s.state = to
}

// transfer fetches the blob.
func (s *spool) transfer(ctx context.Context, report func(*spool, bool)) error {
	err := s.fill(ctx, report)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		s.fail(err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = spoolComplete
	s.changed.Broadcast()
	return nil
}

func (s *spool) fill(ctx context.Context, report func(*spool, bool)) error {
	file, err := createUnnamed(s.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.file = file
	s.mu.Unlock()
	r, err := openCompressed(ctx, s.source)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(spoolWriter{s, report}, r, make([]byte, 256<<10))
	return errors.Join(err, r.Close())
}

// spoolWriter writes a spool.
type spoolWriter struct {
	s      *spool
	report func(*spool, bool)
}

func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.s.file.Write(p)
	w.s.mu.Lock()
	w.s.size += int64(n)
	w.s.changed.Broadcast()
	w.s.mu.Unlock()
	w.report(w.s, false)
	if err != nil {
		err = &Error{Err: err, Detail: "cannot store the layer", Remedy: "set TMPDIR to a directory with free space"}
	}
	return n, err
}

// open opens a reader. If there is no space for the layer, it is read from the registry
// directly: a wait for space must not wait for this reader.
func (s *spool) open() (io.ReadCloser, error) {
	select {
	case <-s.started:
	case <-s.quota.exhausted():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case spoolPending:
		s.setState(spoolBypassed)
		fallthrough
	case spoolBypassed, spoolDeleted:
		return openCompressed(s.ctx, s.source)
	}
	s.active++
	return &spoolReader{s: s}, nil
}

// spoolReader reads a spool from its beginning, and waits for data that has not arrived yet.
type spoolReader struct {
	s      *spool
	at     int64
	ended  bool
	closed bool
}

func (r *spoolReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, os.ErrClosed
	}
	file, size, err := r.wait()
	switch {
	case err != nil:
		return 0, err
	case r.at == size:
		r.ended = true
		return 0, io.EOF
	}
	n, err := file.ReadAt(p[:min(int64(len(p)), size-r.at)], r.at)
	r.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// wait waits until there is more data than was read, or all, and returns the size.
func (r *spoolReader) wait() (*os.File, int64, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.state == spoolReceiving && s.size == r.at {
		s.changed.Wait()
	}
	if s.file == nil && s.err == nil {
		return nil, 0, os.ErrClosed
	}
	return s.file, s.size, s.err
}

func (r *spoolReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if r.ended {
		s.readers--
	}
	if s.readers <= 0 && s.active == 0 && s.state == spoolComplete {
		return s.closeFile()
	}
	return nil
}

// discard deletes the data after the transfers have ended.
func (s *spool) discard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.closeFile()
}

// closeFile deletes the file and releases its space. The caller holds s.mu.
func (s *spool) closeFile() error {
	if s.state == spoolComplete {
		s.state = spoolDeleted
	}
	file := s.file
	s.file = nil
	if file == nil {
		return nil
	}
	s.quota.release(s.blob.Size)
	return file.Close()
}
