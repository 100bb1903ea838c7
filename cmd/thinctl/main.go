package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/term"

	"thinctl/internal/doctor"
	"thinctl/internal/metadatafile"
	"thinctl/units"
)

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("interrupted")

func main() {
	// Large tables live long here, and there is little garbage. The ballast is
	// never touched, so it takes no memory, and keeps small heaps from being
	// collected again and again.
	debug.SetGCPercent(25)
	ballast := make([]byte, 64*units.MiB)
	ctx, stop := untilSignal(context.Background(), os.Exit)
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv:     os.Getenv,
		euid:       os.Geteuid,
		keyboard:   term.IsTerminal(int(os.Stdin.Fd())),
		dialog:     term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		progressOn: term.IsTerminal(int(os.Stderr.Fd())),
		host:       localHost,
		files:      localFiles{},
		probe:      doctor.Local(),
		metadata:   metadatafile.Local(),
		colorOn:    term.IsTerminal(int(os.Stdout.Fd())),
	}
	a.columns, _, _ = term.GetSize(int(os.Stdout.Fd()))
	code := a.run(ctx, os.Args[1:])
	runtime.KeepAlive(ballast)
	stop()
	os.Exit(code)
}

// untilSignal returns a context that the first SIGINT or SIGTERM cancels, so
// that what was begun is undone; the second one calls exit at once.
func untilSignal(parent context.Context, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		cancel(errInterrupted)
		if _, ok := <-signals; ok {
			exit(codeInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
