// Command lab runs a command in a throw-away virtual machine; tests/lab/run
// builds and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"thinctl/tests/lab"
	"thinctl/tests/lab/boot"
)

// Exit statuses of the lab itself; any other is the command's. They are those of timeout(1)
// and of container tools.
const (
	exitTimeout     = 124
	exitLab         = 125
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP,
		syscall.SIGQUIT)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string) int {
	config, orders, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return fail(err)
	}
	config.Stdout, config.Stderr, config.Progress = os.Stdout, os.Stderr, os.Stderr
	if orders.prepare {
		if err := lab.Prepare(ctx, config); err != nil {
			return fail(err)
		}
		return 0
	}
	restore, err := takeStdin(&config)
	if err != nil {
		return fail(err)
	}
	result, err := lab.Run(ctx, config)
	restore()
	if orders.verbose {
		fmt.Fprintf(os.Stderr, "lab: accelerator %s, command reached in %.1fs, whole run %.1fs\n",
			result.Accel, result.Boot.Seconds(), result.Elapsed.Seconds())
	}
	switch {
	case err == nil && result.PoweredOff:
		fmt.Fprintln(os.Stderr, "lab: the guest's power was cut")
		return result.ExitCode
	case err == nil:
		return result.ExitCode
	default:
		return fail(err)
	}
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "lab:", err)
	switch {
	case errors.Is(err, lab.ErrTimeout):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitLab
	}
}

// takeStdin passes standard input on if it is not a terminal. If it is one, and there is no
// command, the guest gets the terminal and a shell.
func takeStdin(config *lab.Config) (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	interactive := len(config.Command) == 0
	switch {
	case interactive && !term.IsTerminal(fd):
		return nil, errors.New("a shell needs a terminal: give a command after --")
	case !interactive && term.IsTerminal(fd):
		return func() {}, nil
	case !interactive:
		config.Stdin = os.Stdin
		return func() {}, nil
	}
	cols, rows, err := term.GetSize(fd)
	if err != nil {
		return nil, fmt.Errorf("asking for the terminal's size: %w", err)
	}
	config.Command = []string{"bash"}
	config.Screen = &boot.Screen{Rows: uint16(rows), Cols: uint16(cols)}
	config.Stdin = os.Stdin
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("taking over the terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, before) }, nil
}
