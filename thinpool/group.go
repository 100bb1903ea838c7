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

// Callers who change the pool at the same moment share a transaction of it: one
// commit of the database and one transaction id for all, and a message for each.
// Who comes while nobody else does shares with nobody. A change that fails in
// company has failed nobody else's: it is taken out, and tried again by itself,
// and only that answer is told.
//
// Volumes and documents do not mix. What only the database keeps counts with its
// commit; a volume, with its documents, counts with the kernel's id, and may have
// to be undone.

// change is one caller's part of a transaction.
type change struct {
	// plan writes it, and says which device the kernel is to make, if any. It may be
	// called more than once.
	plan func(*store.Tx, dm.PoolStatus) (*addition, error)
	// adds says what it does to the pool where that makes a device; "" where not.
	adds string

	ctx  context.Context
	err  error
	done chan struct{} // closed when err tells the end
}

// group is who waits, and whose turn it is to work for all of them.
type group struct {
	turn    chan struct{} // holds a token while somebody works
	mu      sync.Mutex
	waiting []*change
}

// mostTogether bounds how long the first of many waits for the last.
const mostTogether = 64

// join carries a change out, along with those of others or in another's turn.
func (g *group) join(ctx context.Context, c *change, p *Pool) error {
	c.ctx, c.done = ctx, make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		if g.leave(c) {
			return p.failed("lock", fmt.Errorf("%w: %w", filelock.ErrHeld, ctx.Err()))
		}
		<-c.done // it is being carried out
		return c.err
	}
	defer func() { <-g.turn }()
	select {
	case <-c.done:
		return c.err
	default:
	}
	lock, err := p.lock(ctx)
	if err != nil {
		g.leave(c)
		return err
	}
	defer lock.Release()
	for { // mostTogether may have left it behind
		p.carryOut(g.next())
		select {
		case <-c.done:
			return c.err
		default:
		}
	}
}

// leave takes a change out that nobody has begun with.
func (g *group) leave(c *change) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(g.waiting, c)
	if at < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, at, at+1)
	return true
}

// next takes those out who go together with the first that waits.
func (g *group) next() (together []*change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(c *change) bool {
		fits := len(together) == 0 || len(together) < mostTogether && (c.adds == "") == (together[0].adds == "")
		if fits {
			together = append(together, c)
		}
		return fits
	})
	return together
}

// carryOut brings changes to their end, each. The pool's lock is held.
func (p *Pool) carryOut(together []*change) {
	var alone []*change
	for len(together) > 1 {
		culprit, err := p.attempt(together)
		if err == nil {
			break
		}
		if culprit == nil {
			alone, together = append(alone, together...), nil
			break
		}
		alone = append(alone, culprit)
		together = slices.DeleteFunc(together, func(c *change) bool { return c == culprit })
	}
	if len(together) == 1 {
		alone = append(together, alone...)
		together = nil
	}
	for _, c := range together {
		close(c.done)
	}
	for _, c := range alone {
		_, c.err = p.attempt([]*change{c})
		close(c.done)
	}
}

// attempt makes one transaction of changes: database, messages, transaction id
// (see doc.go). Where it fails nothing has happened; the culprit is whose plan
// failed, if it was that.
func (p *Pool) attempt(together []*change) (culprit *change, err error) {
	ctx, cancel := forAll(together)
	defer cancel()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return nil, err
	}
	if adds := together[0].adds; adds != "" {
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
			adds, pending, culprit = nil, store.Pending{Tx: status.TransactionID + 1}, nil
			pending.Documents, err = tx.Journal(func() error {
				for _, c := range together {
					add, err := c.plan(tx, status)
					if err != nil {
						culprit = c
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
		return culprit, err
	}
	// Those who begin as copies of the same are made while that stands still once.
	slices.SortStableFunc(adds, func(a, b *addition) int { return int(a.origin) - int(b.origin) })
	if made, err := p.perform(ctx, adds, pending); err != nil {
		return nil, errors.Join(err, p.undo(ctx, pending, made))
	}
	return nil, nil
}

// forAll returns a context that ends when those of all changes have.
func forAll(together []*change) (context.Context, context.CancelFunc) {
	if len(together) == 1 {
		return together[0].ctx, func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(together[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(together)))
	stops := []func() bool{}
	for _, c := range together {
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
