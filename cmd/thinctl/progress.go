package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// progressAfter is how long nothing is said of something under way.
const progressAfter = 500 * time.Millisecond

// progressLine shows on a terminal what is in progress.
type progressLine struct {
	w  io.Writer
	on bool
}

// start shows a line once the work takes long. The function that it returns ends
// that and clears the line.
func (p progressLine) start(format string, args ...any) (done func()) {
	what := fmt.Sprintf(format, args...)
	return p.tell(what, func() string { return "" })
}

// reading is progress that also tells how many metadata blocks were read, of
// those known to be needed so far.
func (p progressLine) reading(format string, args ...any) (read func(metadata.Progress), done func()) {
	var last atomic.Pointer[metadata.Progress]
	what := fmt.Sprintf(format, args...)
	return func(r metadata.Progress) { last.Store(&r) }, p.tell(what, func() string {
		if r := last.Load(); r != nil {
			return fmt.Sprintf(", %d of %d blocks", r.Read, r.Known)
		}
		return ""
	})
}

// moving is progress that also tells how many bytes have come by so far.
func (p progressLine) moving(format string, args ...any) (moved func(int64), done func()) {
	var last atomic.Int64
	return last.Store, p.tell(fmt.Sprintf(format, args...), func() string {
		return ", " + humanSize(units.Bytes(last.Load()))
	})
}

func (p progressLine) tell(what string, far func() string) (done func()) {
	if !p.on {
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

func (p progressLine) spin(what string, far func() string, stop <-chan struct{}) {
	began := time.Now()
	select {
	case <-stop:
		return
	case <-time.After(progressAfter):
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprintf(p.w, "\r%s ... %ds%s", what, int(time.Since(began).Seconds()), far())
		select {
		case <-stop:
			fmt.Fprint(p.w, "\r\033[K")
			return
		case <-tick.C:
		}
	}
}
