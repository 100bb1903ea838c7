package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// progressAfter is how long nothing is said of something under way.
const progressAfter = 500 * time.Millisecond

// progress tells on a terminal what is under way, once it takes long. The
// function it returns ends that and clears the line.
func (a *app) progress(format string, args ...any) (done func()) {
	what := fmt.Sprintf(format, args...)
	return a.tell(what, func() string { return "" })
}

// reading is progress that also tells how many metadata blocks were read, of
// those known to be needed so far.
func (a *app) reading(format string, args ...any) (read func(metadata.Progress), done func()) {
	var last atomic.Pointer[metadata.Progress]
	what := fmt.Sprintf(format, args...)
	return func(p metadata.Progress) { last.Store(&p) }, a.tell(what, func() string {
		if p := last.Load(); p != nil {
			return fmt.Sprintf(", %d of %d blocks", p.Read, p.Known)
		}
		return ""
	})
}

// moving is progress that also tells how many bytes have come by so far.
func (a *app) moving(format string, args ...any) (moved func(int64), done func()) {
	var last atomic.Int64
	return last.Store, a.tell(fmt.Sprintf(format, args...), func() string {
		return ", " + humanSize(units.Bytes(last.Load()))
	})
}

func (a *app) tell(what string, far func() string) (done func()) {
	if !a.progressOn {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		a.spin(what, far, stop)
	}()
	return sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
}

func (a *app) spin(what string, far func() string, stop <-chan struct{}) {
	began := time.Now()
	select {
	case <-stop:
		return
	case <-time.After(progressAfter):
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprintf(a.err, "\r%s ... %ds%s", what, int(time.Since(began).Seconds()), far())
		select {
		case <-stop:
			fmt.Fprint(a.err, "\r\033[K")
			return
		case <-tick.C:
		}
	}
}
