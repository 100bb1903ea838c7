package metadata

import (
	"context"
	"io"
	"runtime"
	"sync"
)

// batch is a part of the XML, about 1 MiB, that one worker formats. It may begin and end inside
// a device. The first and last run may continue in the adjacent batch, so writeBatches writes
// them.
type batch struct {
	items   []batchItem
	entries int
	begun   bool // inside a device

	head, tail dumpRun // with 0 blocks if there is none
	body       []byte  // after headroom bytes
	err        error
	done       chan struct{}
}

// batchItem is a leaf, or, if leaf is 0, the first or last line of a device.
type batchItem struct {
	leaf   uint32
	device *Device // nil: the last line
}

const (
	batchEntries = 1 << 14
	headroom     = 512 // free bytes before a body, for the runs before it
)

// write formats the devices in several workers and writes them in order.
func (s *leafStore) write(ctx context.Context, w io.Writer, devices []dumpedDevice, skipMappings bool) error {
	workers := 2 * runtime.GOMAXPROCS(0)
	if s.memory < 1<<18 {
		workers *= 4 // they wait while leaves are read again
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work, ordered := make(chan *batch), make(chan *batch, 2*workers)
	spent := make(chan *batch, 4*workers)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(ordered)
		defer close(work)
		s.batches(devices, skipMappings, spent, func(b *batch) bool {
			select {
			case ordered <- b:
			case <-ctx.Done():
				return false
			}
			select {
			case work <- b:
				return true
			case <-ctx.Done():
				return false
			}
		})
	})
	for range workers {
		group.Go(func() {
			block, scratch := newBlock(), make([]byte, 0, 2*blockSize)
			for b := range work {
				b.err = s.format(b, block, scratch)
				close(b.done)
			}
		})
	}
	if err := writeBatches(ctx, w, ordered, spent); err != nil {
		stop(err)
	}
	group.Wait()
	return context.Cause(ctx)
}

// batches divides the devices into batches and passes them to next until it returns false.
func (s *leafStore) batches(devices []dumpedDevice, skipMappings bool, spent chan *batch, next func(*batch) bool) {
	b := newBatch(spent, false)
	add := func(item batchItem, entries int) bool {
		b.items, b.entries = append(b.items, item), b.entries+entries
		if b.entries < batchEntries {
			return true
		}
		full := b
		b = newBatch(spent, item.leaf != 0 || item.device != nil)
		return next(full)
	}
	for i := range devices {
		d := &devices[i]
		// A device counts as two entries, so that many empty devices fill a batch.
		if !add(batchItem{device: &d.Device}, 2) {
			return
		}
		if !skipMappings && !s.addLeaves(d.root, add) {
			return
		}
		if !add(batchItem{}, 0) {
			return
		}
	}
	next(b)
}

// addLeaves adds the leaves under a vertex. The recursion ends because orderAndCheck found no
// cycle.
func (s *leafStore) addLeaves(number uint32, add func(batchItem, int) bool) bool {
	v := &s.graph.vertices[number]
	if v.leaf {
		return add(batchItem{leaf: number}, int(v.entries))
	}
	for _, child := range s.graph.children(v) {
		if !s.addLeaves(child, add) {
			return false
		}
	}
	return true
}

func newBatch(spent chan *batch, begun bool) *batch {
	select {
	case b := <-spent:
		*b = batch{items: b.items[:0], body: b.body[:headroom], begun: begun, done: make(chan struct{})}
		return b
	default:
		return &batch{body: make([]byte, headroom), begun: begun, done: make(chan struct{})}
	}
}

// format formats the lines of a batch.
func (s *leafStore) format(b *batch, block, scratch []byte) error {
	var run dumpRun // not written so far
	open := b.begun // the next run may continue one of the batch before
	end := func() {
		switch {
		case run.blocks == 0:
		case open:
			b.head = run
		default:
			b.body = appendRun(b.body, run)
		}
		open, run.blocks = open && run.blocks == 0, 0
	}
	for _, item := range b.items {
		if item.leaf == 0 {
			end()
			open = false
			if item.device != nil {
				b.body = appendDevice(b.body, *item.device)
			} else {
				b.body = append(b.body, deviceEnd...)
			}
			continue
		}
		runs, err := s.runsOf(item.leaf, block, scratch)
		if err != nil {
			return err
		}
		var last dumpRun
		for len(runs) > 0 {
			var next dumpRun
			next, runs = nextRun(runs, &last)
			if run.blocks > 0 && run.joins(next) {
				run.blocks += next.blocks
				continue
			}
			end()
			run = next
		}
	}
	switch {
	case run.blocks == 0:
	case open:
		b.head = run
	default:
		b.tail = run
	}
	return nil
}

// writeBatches writes the batches in order, with the runs between them.
func writeBatches(ctx context.Context, w io.Writer, ordered, spent chan *batch) error {
	var run dumpRun
	var out []byte
	for b := range ordered {
		select {
		case <-b.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if b.err != nil {
			return b.err
		}
		out = out[:0]
		switch {
		case b.head.blocks == 0:
		case run.blocks > 0 && run.joins(b.head):
			run.blocks += b.head.blocks
		default:
			if run.blocks > 0 {
				out = appendRun(out, run)
			}
			run = b.head
		}
		if (len(b.body) > headroom || b.tail.blocks > 0) && run.blocks > 0 {
			out = appendRun(out, run)
			run.blocks = 0
		}
		if b.tail.blocks > 0 {
			run = b.tail
		}
		text := b.body[headroom-len(out):]
		copy(text, out)
		if err := writeAll(w, text); err != nil {
			return err
		}
		select {
		case spent <- b:
		default:
		}
	}
	return nil
}
