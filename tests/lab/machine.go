package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// machine is one QEMU process and the directory with its files.
type machine struct {
	dir           string
	kernelOptions string // added to the command line
	cmd           *exec.Cmd
	listeners     map[string]*net.UnixListener
	dead          chan struct{} // closed when QEMU has ended
	once          sync.Once
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// listen makes the sockets that QEMU connects to.
func (m *machine) listen(names ...string) error {
	m.listeners = map[string]*net.UnixListener{}
	for _, name := range names {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.path(name), Net: "unix"})
		if err != nil {
			return fmt.Errorf("making a socket for QEMU (a shorter TMPDIR may help): %w", err)
		}
		m.listeners[name] = l
	}
	return nil
}

// start runs QEMU, which dies with this process however that ends.
func (m *machine) start(args []string) error {
	path, err := tool("qemu-system-x86_64")
	if err != nil {
		return err
	}
	log, err := os.Create(m.path("qemu.log"))
	if err != nil {
		return err
	}
	m.cmd = exec.Command(path, args...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	// QEMU has a process group of its own, so that the terminal's ^C reaches only the lab.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	m.dead = make(chan struct{})
	started := make(chan error)
	go func() {
		// The death signal is tied to the thread that starts the process.
		runtime.LockOSThread()
		defer log.Close()
		err := m.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = m.cmd.Wait() // QEMU is killed at the end of each command
		for _, l := range m.listeners {
			l.Close()
		}
		close(m.dead)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting QEMU: %w", err)
	}
	return nil
}

// kill cuts the power.
func (m *machine) kill() {
	m.once.Do(func() { _ = m.cmd.Process.Kill() })
}

func (m *machine) console() string {
	text, _ := os.ReadFile(m.path("console"))
	return strings.ReplaceAll(string(text), "\r", "")
}

func (m *machine) log() string {
	text, _ := os.ReadFile(m.path("qemu.log"))
	return strings.TrimSpace(string(text))
}

// accept returns QEMU's end of a port, or an error once QEMU has died.
func (m *machine) accept(name string) (*net.UnixConn, error) {
	conn, err := m.listeners[name].AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("QEMU did not open its port %s: %w", name, err)
	}
	return conn, nil
}
