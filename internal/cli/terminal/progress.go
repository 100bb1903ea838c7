package terminal

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// progressAfter is the delay before the first line.
const progressAfter = 500 * time.Millisecond

// Progress shows on a terminal that work is in progress.
type Progress struct {
	Out     io.Writer
	Enabled bool
}

// Start shows a line if the work takes long. done removes the line.
func (p Progress) Start(format string, args ...any) (done func()) {
	what := fmt.Sprintf(format, args...)
	return p.report(what, func() string { return "" })
}

// Reading is Start with the number of metadata blocks that were read, of those that are needed as
// far as is known.
func (p Progress) Reading(format string, args ...any) (read func(metadata.Progress), done func()) {
	var last atomic.Pointer[metadata.Progress]
	what := fmt.Sprintf(format, args...)
	return func(r metadata.Progress) { last.Store(&r) }, p.report(what, func() string {
		if r := last.Load(); r != nil {
			return fmt.Sprintf(", %d of %d blocks", r.Read, r.Known)
		}
		return ""
	})
}

// Moving is Start with the number of bytes so far.
func (p Progress) Moving(format string, args ...any) (moved func(int64), done func()) {
	var last atomic.Int64
	return last.Store, p.report(fmt.Sprintf(format, args...), func() string {
		return ", " + output.HumanSize(units.Bytes(last.Load()))
	})
}

func (p Progress) report(what string, far func() string) (done func()) {
	if !p.Enabled {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		p.spin(what, far, stop)
	}()
	return sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
}

func (p Progress) spin(what string, far func() string, stop <-chan struct{}) {
	began := time.Now()
	select {
	case <-stop:
		return
	case <-time.After(progressAfter):
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprintf(p.Out, "\r%s ... %ds%s", what, int(time.Since(began).Seconds()), far())
		select {
		case <-stop:
			fmt.Fprint(p.Out, "\r\033[K")
			return
		case <-tick.C:
		}
	}
}
