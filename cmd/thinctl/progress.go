package main

import (
	"fmt"
	"sync"
	"time"
)

// progressAfter is how long nothing is said of something under way.
const progressAfter = 500 * time.Millisecond

// progress tells on a terminal what is under way, once it takes long. The
// function it returns ends that and clears the line.
func (a *app) progress(format string, args ...any) (done func()) {
	if !a.progressOn {
		return func() {}
	}
	what := fmt.Sprintf(format, args...)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		a.spin(what, stop)
	}()
	return sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
}

func (a *app) spin(what string, stop <-chan struct{}) {
	began := time.Now()
	select {
	case <-stop:
		return
	case <-time.After(progressAfter):
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprintf(a.err, "\r%s ... %ds", what, int(time.Since(began).Seconds()))
		select {
		case <-stop:
			fmt.Fprint(a.err, "\r\033[K")
			return
		case <-tick.C:
		}
	}
}
