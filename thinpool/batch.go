package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"thinctl/dm"
	"thinctl/internal/filelock"
	"thinctl/thinpool/store"
)

// Concurrent changes of a pool are combined into batches, as DB.Batch of bbolt does. A
// batch is one transaction: one commit of the database, one transaction id of the
// kernel, and one message for each new device. A caller that arrives alone gets a
// transaction of its own. A change that fails is removed from its batch and run again
// solo, and the caller gets the error of that run. The rest of the batch continues.
//
// A batch has either new volumes or only documents. Documents alone take effect with
// the commit of the database. A new volume, with its documents, takes effect with the
// kernel's transaction id, and is undone if the kernel rejects it.

// change is one caller's part of a batch.
type change struct {
	// plan writes the change to the database and returns the device that the kernel
	// must create, or nil. It may be called more than once.
	plan func(*store.Tx, dm.PoolStatus) (*addition, error)
	// adds is the operation if the change creates a device, else "".
	adds string

	ctx  context.Context
	err  error
	done chan struct{} // closed when err is final
}

// batcher queues changes. One of the waiting callers at a time runs the next batch for
// all of its members.
type batcher struct {
	running chan struct{} // holds a token while a caller runs a batch
	mu      sync.Mutex
	waiting []*change
}

// maxBatch bounds the time that the first change of a batch waits for the last one.
const maxBatch = 64

// run applies a change, in a batch that this caller or another one runs.
func (g *batcher) run(ctx context.Context, c *change, p *Pool) error {
	c.ctx, c.done = ctx, make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case g.running <- struct{}{}:
	case <-ctx.Done():
		if g.cancel(c) {
			return p.failed("lock", fmt.Errorf("%w: %w", filelock.ErrHeld, ctx.Err()))
		}
		<-c.done // another caller is running its batch
		return c.err
	}
	defer func() { <-g.running }()
	select {
	case <-c.done:
		return c.err
	default:
	}
	lock, err := p.lock(ctx)
	if err != nil {
		g.cancel(c)
		return err
	}
	defer lock.Release()
	for { // a full batch may have left the change in the queue
		p.runBatch(g.next())
		select {
		case <-c.done:
			return c.err
		default:
		}
	}
}

// cancel removes a change from the queue. It reports false if a batch has it already.
func (g *batcher) cancel(c *change) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(g.waiting, c)
	if at < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, at, at+1)
	return true
}

// next removes the next batch from the queue: the first change, and those that fit to it.
func (g *batcher) next() (batch []*change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(c *change) bool {
		fits := len(batch) == 0 || len(batch) < maxBatch && (c.adds == "") == (batch[0].adds == "")
		if fits {
			batch = append(batch, c)
		}
		return fits
	})
	return batch
}

// runBatch applies each change of a batch, or sets its error. The pool's lock is held.
func (p *Pool) runBatch(batch []*change) {
	var solo []*change
	for len(batch) > 1 {
		failed, err := p.tryBatch(batch)
		if err == nil {
			break
		}
		if failed == nil {
			solo, batch = append(solo, batch...), nil
			break
		}
		solo = append(solo, failed)
		batch = slices.DeleteFunc(batch, func(c *change) bool { return c == failed })
	}
	if len(batch) == 1 {
		solo = append(batch, solo...)
		batch = nil
	}
	for _, c := range batch {
		close(c.done)
	}
	for _, c := range solo {
		_, c.err = p.tryBatch([]*change{c})
		close(c.done)
	}
}

// tryBatch runs one transaction: database, messages, transaction id (see doc.go). An
// error means that nothing was changed; failed is the change whose plan returned it, or
// nil if it came from elsewhere.
func (p *Pool) tryBatch(batch []*change) (failed *change, err error) {
	ctx, cancel := batchContext(batch)
	defer cancel()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return nil, err
	}
	if adds := batch[0].adds; adds != "" {
		err = p.writable(adds, status)
	} else if status.Mode == dm.ModeFail {
		err = p.writable("change", status)
	}
	if err != nil {
		return nil, err
	}
	var adds []*addition
	pending := store.Pending{Tx: status.TransactionID + 1}
	err = p.droppingReaped(func(done []uint32) error {
		return p.update(ctx, status, func(tx *store.Tx) (err error) {
			if err := dropReaped(tx, done); err != nil {
				return err
			}
			adds, pending, failed = nil, store.Pending{Tx: status.TransactionID + 1}, nil
			pending.Documents, err = tx.Journal(func() error {
				for _, c := range batch {
					add, err := c.plan(tx, status)
					if err != nil {
						failed = c
						return err
					}
					if add != nil {
						adds = append(adds, add)
						pending.Add(add.volume.Name, add.volume.ID, add.origin)
					}
				}
				return nil
			})
			if err != nil || len(adds) == 0 {
				return err
			}
			return tx.Begin(pending)
		})
	})
	if err != nil || len(adds) == 0 {
		return failed, err
	}
	// One suspension of an origin serves all of its snapshots in the batch.
	slices.SortStableFunc(adds, func(a, b *addition) int { return int(a.origin) - int(b.origin) })
	if made, err := p.sendMessages(ctx, adds, pending); err != nil {
		return nil, errors.Join(err, p.undo(ctx, pending, made))
	}
	return nil, nil
}

// batchContext returns a context that ends when the contexts of all changes have ended.
func batchContext(batch []*change) (context.Context, context.CancelFunc) {
	if len(batch) == 1 {
		return batch[0].ctx, func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := []func() bool{}
	for _, c := range batch {
		stops = append(stops, context.AfterFunc(c.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
