//go:build kernel

package crash

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"thinctl/thinpool"
)

// writer writes to the blocks from writerFirst on in turn, again and again: 1, 2, 3 and so
// on, each value durable before the next.
type writer struct {
	acknowledged atomic.Uint64
	stop         context.CancelFunc
	done         chan error
}

const (
	writerFirst = 16
	writerRound = 8
)

// startWriter returns once each of the blocks has been written.
func startWriter(ctx context.Context, volume thinpool.Volume) (*writer, error) {
	w := &writer{done: make(chan error, 1)}
	ctx, w.stop = context.WithCancel(ctx)
	full := make(chan struct{})
	go func() {
		for value := uint64(1); ; value++ {
			if err := (Marks{}).Write(volume, blockOf(value), value); err != nil {
				w.done <- fmt.Errorf("write %d: %w", value, err)
				return
			}
			w.acknowledged.Store(value)
			if value == writerRound {
				close(full)
			}
			select {
			case <-ctx.Done():
				w.done <- nil
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	select {
	case <-full:
		return w, nil
	case err := <-w.done:
		return nil, err
	}
}

func blockOf(value uint64) uint64 { return writerFirst + (value-1)%writerRound }

// end stops the writer and returns the last value it has written. The present write is
// finished first; it can hang on a suspended device.
func (w *writer) end(ctx context.Context) (uint64, error) {
	w.stop()
	select {
	case err := <-w.done:
		return w.acknowledged.Load(), err
	case <-ctx.Done():
		return 0, fmt.Errorf("a write to base still waits: its device, or the pool, was left suspended: %w", ctx.Err())
	}
}

// momentOf returns the last value that the volume holds. It fails unless the volume shows
// one moment: everything before it and nothing after it.
func momentOf(volume thinpool.Volume) (uint64, error) {
	var values [writerRound]uint64
	var newest uint64
	for i := range values {
		got, err := Marks{}.Read(volume, writerFirst+uint64(i))
		if err != nil {
			return 0, err
		}
		if len(got) != 1 {
			return 0, fmt.Errorf("block %d of %s is torn: %d", writerFirst+i, volume.Name, got)
		}
		values[i] = got[0]
		newest = max(newest, got[0])
	}
	for value := newest; value+writerRound > newest && value > 0; value-- {
		if got := values[blockOf(value)-writerFirst]; got != value {
			return 0, fmt.Errorf("%s has write %d and in block %d write %d instead of %d: it shows no single moment",
				volume.Name, newest, blockOf(value), got, value)
		}
	}
	return newest, nil
}
