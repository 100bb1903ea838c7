package programs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
)

// Snapshotter is a `thinctl serve` in the background that serves containerd.
type Snapshotter struct {
	*daemon
	config string // its file
	always string // the part that all configurations have
	tables string
}

// StartSnapshotter serves p's pool on sockets, by namespace, with its configuration
// and log in dir. It writes layers to the containerd that StartProxied starts there.
func StartSnapshotter(ctx context.Context, p Thinctl, dir string, sockets map[string]string) (*Snapshotter, error) {
	return StartSnapshotterWith(ctx, p, dir, sockets, "")
}

// StartSnapshotterWith is StartSnapshotter with more of the configuration: keys of
// [serve], and then other tables.
func StartSnapshotterWith(ctx context.Context, p Thinctl, dir string, sockets map[string]string,
	more string) (*Snapshotter, error) {
	program := p.Program
	if program == "" {
		program = "thinctl"
	}
	log, err := os.CreateTemp(dir, "serve-*.log")
	if err != nil {
		return nil, err
	}
	log.Close()
	web := log.Name() + ".sock"
	s := &Snapshotter{config: log.Name() + ".toml", always: fmt.Sprintf("[serve]\nlisten = %q\n", "unix:"+web)}
	for namespace, socket := range sockets {
		s.tables += fmt.Sprintf("[containerd.%s]\npool = %q\nsocket = %q\ncontainerd = %q\n", namespace, p.Pool, socket,
			containerdSocket(dir))
	}
	if err := s.write(more); err != nil {
		return nil, err
	}
	s.daemon, err = startDaemon(ctx, log.Name(), func(ctx context.Context) error { return ask(ctx, web, "/readyz") },
		program, "--root", p.Root, "--log-level", "info", "serve", "--config", s.config)
	return s, err
}

func (s *Snapshotter) write(more string) error {
	return os.WriteFile(s.config, []byte(s.always+more+"\n"+s.tables), 0o600)
}

// Reconfigure makes the daemon read its configuration again, with these lines instead of
// those of StartSnapshotterWith.
func (s *Snapshotter) Reconfigure(more string) error {
	if err := s.write(more); err != nil {
		return err
	}
	return s.cmd.Process.Signal(syscall.SIGHUP)
}

// ask requests a page from a socket.
func ask(ctx context.Context, socket, path string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://thinctl"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}

// Kill ends the daemon as a crash would.
func (d *daemon) Kill() error {
	if err := d.cmd.Process.Kill(); err != nil {
		return err
	}
	err := <-d.ended
	d.ended <- err
	return nil
}

// Output returns the end of what the daemon has written.
func (d *daemon) Output() string { return string(d.said()) }
