package cli

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/term"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/doctor"
	"thinctl/internal/metadatafile"
	"thinctl/units"
)

// Main runs the command line of this process and exits.
func Main() {
	// Most memory is held by large tables that live long. The ballast is never touched and takes
	// no memory; it prevents frequent collections of a small heap.
	debug.SetGCPercent(25)
	ballast := make([]byte, 64*units.MiB)
	ctx, stop := untilSignal(context.Background(), os.Exit)
	a := &command.Environment{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Getenv:     os.Getenv,
		EUID:       os.Geteuid,
		Keyboard:   term.IsTerminal(int(os.Stdin.Fd())),
		Dialog:     term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		ProgressOn: term.IsTerminal(int(os.Stderr.Fd())),
		OpenHost:   command.LocalHost,
		Files:      command.LocalFiles{},
		Probe:      doctor.Local(),
		Metadata:   metadatafile.Local(),
		ColorOn:    term.IsTerminal(int(os.Stdout.Fd())),
	}
	a.Columns, _, _ = term.GetSize(int(os.Stdout.Fd()))
	code := run(ctx, a, os.Args[1:])
	runtime.KeepAlive(ballast)
	stop()
	os.Exit(code)
}

// untilSignal returns a context that the first SIGINT or SIGTERM cancels, so that unfinished work
// is undone. The second signal calls end.
func untilSignal(parent context.Context, end func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		cancel(exit.ErrInterrupted)
		if _, ok := <-signals; ok {
			end(exit.CodeInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
