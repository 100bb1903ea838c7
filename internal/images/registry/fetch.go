package registry

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/manifest"
)

// FetchOptions change how Fetch works.
type FetchOptions struct {
	// Dir is the directory for layers until they are read; "" for os.TempDir.
	Dir string
	// Parallel is the number of concurrent transfers; 0 for 3.
	Parallel int
	// Skip is the number of layers, from the base, that are not fetched.
	Skip int
	// Disk bounds the size of all stored layers; 0 for 16 GiB. A larger layer is stored
	// only while there is no other.
	Disk int64
	// Progress is called when a layer advances, by one goroutine at a time.
	Progress func(Progress)
}

// Fetched is an image whose layers are being fetched, base first and several concurrently.
// Each layer can be read at any time: a reader follows the transfer, and ends when the
// layer is complete and verified. A layer is deleted after it was read to its end and
// closed; another reader reads it from the registry.
type Fetched struct {
	v1.Image
	layers []v1.Layer
	stop   context.CancelCauseFunc
	done   chan struct{} // closed when all transfers have ended
	spools []*spool

	progress sync.Mutex
	notify   func(Progress)
}

// errClosed is the error of transfers after Close.
var errClosed = errors.New("the image is not being fetched any more")

// Fetch starts to fetch the layers of an image.
func Fetch(ctx context.Context, image v1.Image, o FetchOptions) (*Fetched, error) {
	if o.Parallel <= 0 {
		o.Parallel = 3
	}
	if o.Disk <= 0 {
		o.Disk = 16 << 30
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	f := &Fetched{Image: image, layers: layers, done: make(chan struct{}), notify: o.Progress}
	quota := newDiskQuota(o.Disk)
	ctx, f.stop = context.WithCancelCause(ctx)
	byDigest := map[v1.Hash]*spool{}
	for i := min(max(o.Skip, 0), len(layers)); i < len(layers); i++ {
		s, err := newSpool(ctx, i, layers[i], o.Dir, quota)
		if err != nil {
			f.stop(err)
			return nil, err
		}
		if same, found := byDigest[s.digest]; found {
			s = same
		} else {
			byDigest[s.digest] = s
			f.spools = append(f.spools, s)
		}
		s.readers++
		layers[i] = &manifest.Layer{
			ID: s.id, Blob: manifest.Known(s.blob), Verified: true, Open: s.open, Name: nameOf(layers[i]),
		}
	}
	go f.run(ctx, o.Parallel)
	return f, nil
}

func nameOf(l v1.Layer) func(error) error {
	if ours, ok := l.(*layer); ok {
		return ours.Name
	}
	return func(err error) error { return err }
}

// Layers implements v1.Image.
func (f *Fetched) Layers() ([]v1.Layer, error) { return append([]v1.Layer(nil), f.layers...), nil }

// LayerByDigest implements v1.Image.
func (f *Fetched) LayerByDigest(digest v1.Hash) (v1.Layer, error) {
	return f.layer(digest, v1.Layer.Digest)
}

// LayerByDiffID implements v1.Image.
func (f *Fetched) LayerByDiffID(id v1.Hash) (v1.Layer, error) {
	return f.layer(id, v1.Layer.DiffID)
}

func (f *Fetched) layer(want v1.Hash, of func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	for _, l := range f.layers {
		if have, err := of(l); err != nil || have == want {
			return l, err
		}
	}
	return nil, &Error{Part: want.String(), Kind: manifest.ErrMissing, Detail: "the image has no such layer"}
}

// Close ends all transfers and deletes all stored layers.
func (f *Fetched) Close() error {
	f.stop(errClosed)
	<-f.done
	var failed error
	for _, s := range f.spools {
		failed = errors.Join(failed, s.discard())
	}
	return failed
}

// run starts the transfers in order.
func (f *Fetched) run(ctx context.Context, parallel int) {
	var running sync.WaitGroup
	defer close(f.done)
	defer running.Wait()
	slots := make(chan struct{}, parallel)
	for _, s := range f.spools {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if err := s.quota.acquire(ctx, s.blob.Size); err != nil {
			s.fail(err)
			continue // the readers of each spool wait for its state
		}
		if !s.start() {
			s.quota.release(s.blob.Size)
			<-slots
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			err := s.transfer(ctx, f.report)
			f.report(s, true)
			if err != nil {
				f.stop(err) // the image is not usable without this layer
			}
		})
	}
}

func (f *Fetched) report(s *spool, ended bool) {
	if f.notify == nil {
		return
	}
	f.progress.Lock()
	defer f.progress.Unlock()
	f.notify(Progress{Layer: s.layer, ID: s.id, Done: s.received(), Total: s.blob.Size, Ended: ended})
}

// diskQuota is the disk space that all transfers share.
type diskQuota struct {
	mu      sync.Mutex
	limit   int64
	used    int64
	freed   chan struct{} // closed and replaced when space becomes free
	waiting chan struct{} // closed while a transfer waits for space
}

func newDiskQuota(limit int64) *diskQuota {
	return &diskQuota{limit: limit, freed: make(chan struct{}), waiting: make(chan struct{})}
}

// acquire waits for space. A layer that is larger than all space gets it when all is free.
func (q *diskQuota) acquire(ctx context.Context, size int64) error {
	waited := false
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		q.mu.Lock()
		if q.used == 0 || q.used+size <= q.limit {
			q.used += size
			if waited {
				q.waiting = make(chan struct{})
			}
			q.mu.Unlock()
			return nil
		}
		if !waited {
			close(q.waiting)
			waited = true
		}
		freed := q.freed
		q.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
	}
}

// exhausted returns a channel that is closed while a transfer waits for space.
func (q *diskQuota) exhausted() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

func (q *diskQuota) release(size int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= size
	close(q.freed)
	q.freed = make(chan struct{})
}

// createUnnamed creates a temporary file and removes its name.
func createUnnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "thinctl-*")
	if err != nil {
		return nil, &Error{
			Err: err, Detail: "cannot create a temporary file",
			Remedy: "set TMPDIR to a directory with free space",
		}
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// contextLayer is a layer that can be read under another context.
type contextLayer interface {
	CompressedContext(context.Context) (io.ReadCloser, error)
}

func openCompressed(ctx context.Context, l v1.Layer) (io.ReadCloser, error) {
	if c, ok := l.(contextLayer); ok {
		return c.CompressedContext(ctx)
	}
	r, err := l.Compressed()
	return contextReader{ctx, r}, err
}

// contextReader is a reader that fails when its context has ended.
type contextReader struct {
	ctx context.Context
	io.ReadCloser
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}
