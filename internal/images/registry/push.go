package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/images/manifest"
)

// Streamed is implemented by layers that exist only as an uncompressed tar. Push
// compresses them while it sends them.
type Streamed interface {
	v1.Layer
	Streamed() bool
	// Remembered returns the blobs of this layer from earlier pushes and pulls. If the
	// repository has one of them, the layer is not sent again.
	Remembered() []v1.Descriptor
}

// Pushed describes the image in the registry after a push.
type Pushed struct {
	Digest v1.Hash // the manifest's
	Size   int64   // the manifest's
	Layers []v1.Descriptor
}

// Push sends an image: the layers that the repository does not have, then config and
// manifest.
func Push(ctx context.Context, ref name.Reference, image v1.Image, o Options) (Pushed, error) {
	if _, ok := ref.(name.Tag); !ok {
		err := &Error{Kind: fault.Invalid, Detail: "an image is pushed by a tag, not by a digest"}
		return Pushed{}, manifest.In("push", ref.Name(), "", err)
	}
	c, err := newClient(ctx, "push", ref, transport.PushScope, o)
	if err != nil {
		return Pushed{}, err
	}
	p := &push{c: c}
	p.pusher, err = remote.NewPusher(
		remote.WithTransport(c.transport), remote.WithJobs(c.o.Parallel), remote.WithContext(ctx),
		// Its retries ignore the context; this package has its own.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryPredicate(func(error) bool { return false }),
	)
	if err != nil {
		return Pushed{}, c.named("", err)
	}
	pushed, err := p.image(ctx, c.repository.Tag(ref.Identifier()), image)
	return pushed, c.named("", err)
}

type push struct {
	c        *client
	pusher   *remote.Pusher
	progress sync.Mutex
}

func (p *push) image(ctx context.Context, ref name.Reference, image v1.Image) (pushed Pushed, err error) {
	layers, err := image.Layers()
	if err != nil {
		return pushed, err
	}
	sent := make([]v1.Layer, len(layers))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.c.o.Parallel)
	streamed := false
	for i, l := range layers {
		_, isStreamed := asStreamed(l)
		streamed = streamed || isStreamed
		group.Go(func() (err error) {
			sent[i], err = p.layer(groupCtx, i, l)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return pushed, err
	}
	if streamed {
		rawConfig, err := image.RawConfigFile()
		if err != nil {
			return pushed, err
		}
		if image, err = manifest.Assemble(rawConfig, sent); err != nil {
			return pushed, err
		}
	}
	err = p.retry(ctx, func() error { return p.pusher.Push(ctx, ref, image) })
	if err != nil {
		return pushed, err
	}
	return describe(image)
}

func describe(image v1.Image) (pushed Pushed, err error) {
	m, err := image.Manifest()
	if err != nil {
		return pushed, err
	}
	pushed.Layers = m.Layers
	if pushed.Digest, err = image.Digest(); err != nil {
		return pushed, err
	}
	pushed.Size, err = image.Size()
	return pushed, err
}

func asStreamed(l v1.Layer) (Streamed, bool) {
	s, ok := l.(Streamed)
	return s, ok && s.Streamed()
}

// retry calls f until it succeeds or another try cannot help.
func (p *push) retry(ctx context.Context, f func() error) error {
	for failures := 1; ; failures++ {
		err := f()
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		err = explain(err)
		if permanent(err) && !errors.Is(err, ErrUnavailable) || failures >= p.c.o.Tries {
			return err
		}
		if err := contexts.Sleep(ctx, p.c.o.pause(failures)); err != nil {
			return err
		}
	}
}

// layer sends one layer, and returns the layer that the registry then has.
func (p *push) layer(ctx context.Context, i int, l v1.Layer) (v1.Layer, error) {
	id, err := l.DiffID()
	if err != nil {
		return nil, err
	}
	state := &Progress{Layer: i, ID: id, Total: -1}
	if s, ok := asStreamed(l); ok {
		l, err = p.stream(ctx, s, state)
	} else {
		err = p.blob(ctx, l, state)
	}
	if err != nil {
		return nil, manifest.In("", "", id.String(), err)
	}
	p.report(state, func(s *Progress) { s.Ended, s.Had = true, s.Done == 0 })
	return l, nil
}

func (p *push) blob(ctx context.Context, l v1.Layer, state *Progress) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	if state.Total, err = l.Size(); err != nil {
		return err
	}
	return p.upload(ctx, state, func(count counting) (v1.Layer, error) {
		send := &countedLayer{l, count}
		switch from := l.(type) {
		case *remote.MountableLayer:
			return &remote.MountableLayer{Layer: send, Reference: from.Reference}, nil
		case interface{ Source() name.Repository }:
			return &remote.MountableLayer{Layer: send, Reference: from.Source().Digest(digest.String())}, nil
		}
		return send, nil
	})
}

// stream compresses a layer while it is sent.
func (p *push) stream(ctx context.Context, l Streamed, state *Progress) (v1.Layer, error) {
	for _, d := range l.Remembered() {
		has, err := p.has(ctx, d)
		if err != nil {
			return nil, err
		}
		if has {
			state.Total = d.Size
			return knownLayer{l, d}, nil
		}
	}
	var sent *stream.Layer
	err := p.upload(ctx, state, func(count counting) (v1.Layer, error) {
		tar, err := l.Uncompressed()
		if err != nil {
			return nil, err
		}
		sent = stream.NewLayer(count(tar))
		return sent, nil
	})
	if err != nil {
		return nil, err
	}
	return p.streamed(l, sent, state)
}

func (p *push) streamed(l Streamed, sent *stream.Layer, state *Progress) (v1.Layer, error) {
	id, err := sent.DiffID()
	if err != nil {
		return nil, err
	}
	if id != state.ID {
		return nil, manifest.Errorf(manifest.ErrDigest, "its contents are %s", id)
	}
	var d v1.Descriptor
	if d.Digest, err = sent.Digest(); err != nil {
		return nil, err
	}
	if d.Size, err = sent.Size(); err != nil {
		return nil, err
	}
	d.MediaType, err = sent.MediaType()
	return knownLayer{l, d}, err
}

// counting returns a reader that reports its progress.
type counting func(io.ReadCloser) io.ReadCloser

// upload sends a layer, which is opened again for each try. A try ends if the registry
// accepts no data for too long.
func (p *push) upload(ctx context.Context, state *Progress, fresh func(counting) (v1.Layer, error)) error {
	return p.retry(ctx, func() error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var readers closers
		defer readers.close()
		l, err := fresh(func(r io.ReadCloser) io.ReadCloser {
			return readers.add(newCountedReader(r, p, state, cancel))
		})
		if err != nil {
			return err
		}
		err = p.pusher.Upload(ctx, p.c.repository, l)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			return cause
		}
		return err
	})
}

// has reports whether the repository has a blob.
func (p *push) has(ctx context.Context, d v1.Descriptor) (bool, error) {
	request, err := p.c.request(ctx, http.MethodHead, "blobs", d.Digest.String())
	if err != nil {
		return false, err
	}
	response, err := p.c.do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return false, nil
	}
	if response.StatusCode != http.StatusOK {
		return false, check(response)
	}
	return response.ContentLength == d.Size || response.ContentLength < 0, nil
}

func (p *push) report(state *Progress, change func(*Progress)) {
	p.progress.Lock()
	defer p.progress.Unlock()
	change(state)
	if p.c.o.Progress != nil {
		p.c.o.Progress(*state)
	}
}

// knownLayer is a layer whose blob the registry has.
type knownLayer struct {
	v1.Layer
	d v1.Descriptor
}

func (k knownLayer) Digest() (v1.Hash, error) { return k.d.Digest, nil }
func (k knownLayer) Size() (int64, error)     { return k.d.Size, nil }

func (k knownLayer) MediaType() (types.MediaType, error) { return k.d.MediaType, nil }

// countedLayer is a layer that reports the progress of its upload.
type countedLayer struct {
	v1.Layer
	count counting
}

func (c *countedLayer) Compressed() (io.ReadCloser, error) {
	r, err := c.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return c.count(r), nil
}

// closers holds the readers of one try. A failed try leaves some of them open.
type closers struct {
	mu  sync.Mutex
	all []io.Closer
}

func (c *closers) add(r io.ReadCloser) io.ReadCloser {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, r)
	return r
}

func (c *closers) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.all {
		_ = r.Close() // its error was returned by a read
	}
}

// countedReader reports its progress, and cancels the upload if it is not read for too
// long.
type countedReader struct {
	r     io.ReadCloser
	p     *push
	state *Progress
	idle  *time.Timer
	once  sync.Once
}

func newCountedReader(r io.ReadCloser, p *push, state *Progress, cancel context.CancelCauseFunc) *countedReader {
	p.report(state, func(s *Progress) { s.Done = 0 })
	stall := p.c.o.Stall
	idle := time.AfterFunc(stall, func() {
		detail := fmt.Sprintf("the registry accepted no data for %v", stall)
		cancel(&Error{Kind: ErrStalled, Detail: detail, Remedy: "try again later"})
	})
	idle.Stop() // the first read starts it
	return &countedReader{r: r, p: p, state: state, idle: idle}
}

func (c *countedReader) Read(b []byte) (int, error) {
	c.idle.Stop()
	n, err := c.r.Read(b)
	c.p.report(c.state, func(s *Progress) { s.Done += int64(n) })
	if err == nil {
		c.idle.Reset(c.p.c.o.Stall)
	}
	return n, err
}

func (c *countedReader) Close() error {
	var err error
	c.once.Do(func() {
		c.idle.Stop()
		err = c.r.Close()
	})
	return err
}
