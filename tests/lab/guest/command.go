package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"

	"thinctl/tests/lab/boot"
)

func openBlocking(path string, mode int) (*os.File, error) {
	fd, err := syscall.Open(path, mode|syscall.O_CLOEXEC|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func serve(path string) {
	spec, err := readSpec(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	serveSpec(spec)
}

// serveSpec runs the command and reports its end; the host then kills QEMU.
func serveSpec(spec boot.Spec) {
	// From here on the console keeps every message, for diagnosis.
	_ = os.WriteFile("/proc/sys/kernel/printk", []byte("7 4 1 7"), 0)
	control, err := openPort(boot.PortControl, syscall.O_WRONLY)
	if err != nil {
		fmt.Println("lab:", err)
		halt()
	}
	fmt.Fprintln(control, boot.SayBooted)
	exit, err := run(spec, control)
	if err != nil {
		fmt.Fprintln(control, boot.Failed(err))
	} else {
		if spec.Sync {
			syscall.Sync()
		}
		fmt.Fprintln(control, exit)
	}
	if os.Getpid() == 1 {
		reap(0)
		select {}
	}
}

func run(spec boot.Spec, control io.Writer) (boot.Exit, error) {
	var exit boot.Exit
	out, err := newOutput(boot.PortStdout)
	if err != nil {
		return exit, err
	}
	errs, err := newOutput(boot.PortStderr)
	if err != nil {
		return exit, err
	}
	attr := &syscall.ProcAttr{Dir: spec.Dir, Env: spec.Env, Sys: &syscall.SysProcAttr{Setsid: true}}
	if spec.Screen != nil {
		tty, err := openScreen(*spec.Screen)
		if err != nil {
			return exit, err
		}
		attr.Files = []uintptr{tty.Fd(), tty.Fd(), tty.Fd()}
		attr.Sys.Setctty = true
	} else {
		stdin, err := openStdin(spec.Stdin)
		if err != nil {
			return exit, err
		}
		attr.Files = []uintptr{stdin.Fd(), out.far.Fd(), errs.far.Fd()}
		defer stdin.Close()
	}
	pid, err := start(spec, attr)
	fmt.Fprintln(control, boot.SayStarted)
	if err != nil {
		fmt.Fprintf(errs.far, "lab: running %s in %s: %v\n", spec.Args[0], spec.Dir, err)
		exit.Status = 127
		if errors.Is(err, fs.ErrPermission) {
			exit.Status = 126
		}
	}
	out.far.Close()
	errs.far.Close()
	if pid != 0 {
		exit.Status = reap(pid)
	}
	exit.Stdout, exit.Stderr = out.finish(), errs.finish()
	return exit, nil
}

func start(spec boot.Spec, attr *syscall.ProcAttr) (int, error) {
	if err := os.Chdir(spec.Dir); err != nil {
		return 0, err
	}
	for _, kv := range spec.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return 0, err
			}
		}
	}
	program, err := exec.LookPath(spec.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return 0, err
	}
	return syscall.ForkExec(program, spec.Args, attr)
}

// reap waits for the child pid, and for orphans, which are children of the first process.
// With pid 0 it returns when no child is left.
func reap(pid int) int {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0
		case got == pid && status.Signaled():
			return 128 + int(status.Signal())
		case got == pid:
			return status.ExitStatus()
		}
	}
}

func openStdin(wanted bool) (*os.File, error) {
	if !wanted {
		return os.Open(os.DevNull)
	}
	port, err := openPort(boot.PortStdin, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	near, far, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.Copy(far, port) // ends with the port or the command
		far.Close()
	}()
	return near, nil
}

func openScreen(size boot.Screen) (*os.File, error) {
	tty, err := openBlocking("/dev/hvc0", syscall.O_RDWR)
	if err != nil {
		return nil, err
	}
	winsize := [4]uint16{size.Rows, size.Cols}
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&winsize)))
	if errno != 0 {
		return nil, fmt.Errorf("setting the size of the terminal: %w", errno)
	}
	return tty, nil
}
