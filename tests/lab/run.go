package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"thinctl/tests/lab/boot"
)

// exitKilled is the status that a shell reports for a program killed by SIGKILL.
const exitKilled = 137

// run is one boot of a guest.
type run struct {
	config         Config
	machine        *machine
	stdout, stderr *stream
	throwAway      []string
	born           time.Time
	lines          chan string // of the control port
	text           chan struct{}
	began          chan struct{} // closed at the first line of the control port
	carrying       sync.WaitGroup
}

func (r *run) boot(ctx context.Context, p parts) error {
	c, m := r.config, r.machine
	spec, modules, err := c.spec(p)
	if err != nil {
		return err
	}
	initrd, err := initramfs(spec, p.bin+"/guest", modules, p.kernel.tree)
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.path("initrd"), initrd, 0o600); err != nil {
		return err
	}
	disks, throwAway, err := c.disks(ctx, m.dir, p.image)
	if err != nil {
		return err
	}
	r.throwAway = throwAway
	names := ports()
	if c.Screen != nil {
		names = append(names, screenPort)
	}
	if err := m.listen(names...); err != nil {
		return err
	}
	args := slices.Concat(baseArgs(p.accel, c.CPUs, c.Memory), m.bootArgs(p.kernel, c.Systemd),
		m.portArgs(c.Screen != nil), shareArgs(), disks)
	r.born = time.Now()
	if err := m.start(args); err != nil {
		return err
	}
	r.connect()
	return nil
}

// connect serves each port in a goroutine that ends with QEMU.
func (r *run) connect() {
	c := r.config
	r.lines, r.text = make(chan string, 8), make(chan struct{})
	stdout := c.Stdout
	if c.PowerOffOn != "" {
		stdout = &watcher{to: c.Stdout, text: []byte(c.PowerOffOn), seen: func() {
			r.machine.kill()
			close(r.text)
		}}
	}
	r.take(boot.PortControl, func(port io.ReadWriter) {
		begin := sync.OnceFunc(func() { close(r.began) })
		for s := bufio.NewScanner(port); s.Scan(); {
			begin()
			r.lines <- s.Text()
		}
	}, func() { close(r.lines) })
	r.take(boot.PortStdout, func(port io.ReadWriter) { r.stdout.carry(stdout, port) }, r.stdout.end)
	r.take(boot.PortStderr, func(port io.ReadWriter) { r.stderr.carry(c.Stderr, port) }, r.stderr.end)
	if c.Screen != nil {
		r.take(screenPort, func(port io.ReadWriter) {
			go func() { _, _ = io.Copy(port, c.Stdin) }()
			_, _ = io.Copy(c.Stdout, port) // ends with the machine
		}, nil)
	} else if c.Stdin != nil {
		// This goroutine is not waited for: a read of the caller's stdin cannot be ended.
		go func() {
			port, err := r.machine.accept(boot.PortStdin)
			select {
			case <-r.began:
			case <-r.machine.dead:
				return // another boot may need the input
			}
			if err == nil {
				_, _ = io.Copy(port, c.Stdin) // the guest may end before its input
				_ = port.CloseWrite()
				// If it were closed in full, which the garbage collector does too, QEMU
				// would hang up and drop the input that the guest has not read.
				<-r.machine.dead
				_ = port.Close()
			}
		}()
	}
}

func (r *run) take(name string, use func(io.ReadWriter), after func()) {
	r.carrying.Add(1)
	go func() {
		defer r.carrying.Done()
		if after != nil {
			defer after()
		}
		if port, err := r.machine.accept(name); err == nil {
			defer func() { _ = port.Close() }()
			use(port)
		}
	}()
}

// supervise waits for the guest's end and leaves nothing running.
func (r *run) supervise(ctx context.Context) (Result, error) {
	m := r.machine
	defer context.AfterFunc(ctx, m.kill)()
	var result Result
	var exit *boot.Exit
	var failure string
	var powerOff <-chan time.Time
	for lines := r.lines; lines != nil; {
		select {
		case <-powerOff:
			result.PoweredOff = true
			m.kill()
			powerOff = nil
		case line, ok := <-lines:
			if !ok {
				lines = nil
				break
			}
			switch line {
			case boot.SayBooted:
				for _, path := range r.throwAway {
					os.Remove(path)
				}
			case boot.SayStarted:
				result.Boot = time.Since(r.born)
				if r.config.PowerOffAfter > 0 {
					powerOff = time.After(r.config.PowerOffAfter)
				}
			default:
				if e, ok := boot.ParseExit(line); ok && exit == nil {
					exit = &e
				} else if failure, ok = boot.ParseFailed(line); !ok {
					failure = fmt.Sprintf("got %q on its control port", line)
				}
				if exit != nil && (!r.stdout.await(exit.Stdout) || !r.stderr.await(exit.Stderr)) {
					failure = "part of the command's output was lost"
				}
				m.kill()
				lines = nil
			}
		}
	}
	<-m.dead
	r.carrying.Wait()
	return r.verdict(ctx, result, exit, failure)
}

func (r *run) verdict(ctx context.Context, result Result, exit *boot.Exit, failure string) (Result, error) {
	select {
	case <-r.text:
		result.PoweredOff = true
	default:
	}
	guestError := func(kind error, what string) (Result, error) {
		if log := r.machine.log(); log != "" {
			what += "; output of QEMU: " + lastLines(log, 5)
		}
		return result, &GuestError{Kind: kind, What: what, Console: r.machine.console()}
	}
	switch {
	case result.PoweredOff:
		result.ExitCode = exitKilled
		return result, nil
	case failure != "":
		return guestError(ErrGuest, failure)
	case exit != nil:
		result.ExitCode = exit.Status
		return result, errors.Join(r.stdout.failed, r.stderr.failed)
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrTimeout):
		return guestError(ErrTimeout, fmt.Sprintf("the guest was killed after %v", r.config.Timeout))
	case ctx.Err() != nil:
		return result, fmt.Errorf("the guest was killed: %w", context.Cause(ctx))
	default:
		return guestError(ErrGuest, "it ended without reporting the command's exit status")
	}
}
