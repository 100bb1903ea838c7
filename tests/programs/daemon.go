package programs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Bounds of a daemon's start and stop, generous since the guest may be emulated.
const (
	startDeadline = 3 * time.Minute
	stopDeadline  = 2 * time.Minute
)

// daemon is a program in the background, with its output in a file.
type daemon struct {
	cmd   *exec.Cmd
	log   string
	ready func(context.Context) error
	ended chan error // holds how it ended
}

// startDaemon starts a program and waits until ready returns nil.
func startDaemon(ctx context.Context, log string, ready func(context.Context) error, name string,
	args ...string) (*daemon, error) {
	// It is not bound to ctx: it is stopped in order, so that it unmounts its mounts.
	return startCommand(ctx, log, ready, exec.Command(name, args...))
}

func startCommand(ctx context.Context, log string, ready func(context.Context) error, cmd *exec.Cmd) (*daemon, error) {
	name := cmd.Args[0]
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, log: log, ready: ready, ended: make(chan error, 1)}
	go func() { d.ended <- cmd.Wait() }()
	deadline := time.After(startDeadline)
	for {
		fault := ready(ctx)
		if fault == nil {
			return d, nil
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			return nil, fmt.Errorf("%s ended at its start: %w\n%s", name, err, d.said())
		case <-deadline:
			return nil, errors.Join(fmt.Errorf("%s is not ready after %v: %w\n%s", name, startDeadline, fault, d.said()),
				d.Stop(ctx))
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), d.Stop(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the daemon, and kills it if it does not end.
func (d *daemon) Stop(context.Context) error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-d.ended:
		d.ended <- err
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return err
		}
		return nil
	case <-time.After(stopDeadline):
		return errors.Join(fmt.Errorf("%s did not end within %v\n%s", filepath.Base(d.cmd.Path), stopDeadline, d.said()),
			d.cmd.Process.Kill())
	}
}

// Restart starts a daemon again that was killed.
func (d *daemon) Restart(ctx context.Context) error {
	cmd := exec.Command(d.cmd.Path, d.cmd.Args[1:]...)
	cmd.Env = d.cmd.Env
	again, err := startCommand(ctx, d.log+".again", d.ready, cmd)
	if err == nil {
		*d = *again
	}
	return err
}

func (d *daemon) said() []byte {
	text, _ := os.ReadFile(d.log)
	return tail(text)
}
