package programs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// Snapshotter is a `thinctl serve` in the background that has containerds.
type Snapshotter struct{ *daemon }

// StartSnapshotter serves p's pool on sockets, by namespace, with its configuration
// and log in dir.
func StartSnapshotter(ctx context.Context, p Thinctl, dir string, sockets map[string]string) (*Snapshotter, error) {
	program := p.Program
	if program == "" {
		program = "thinctl"
	}
	log, err := os.CreateTemp(dir, "serve-*.log")
	if err != nil {
		return nil, err
	}
	log.Close()
	web, config := log.Name()+".sock", log.Name()+".toml"
	text := fmt.Sprintf("[serve]\nlisten = %q\n", "unix:"+web)
	for namespace, socket := range sockets {
		text += fmt.Sprintf("[containerd.%s]\npool = %q\nsocket = %q\n", namespace, p.Pool, socket)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &Snapshotter{}
	s.daemon, err = startDaemon(ctx, log.Name(), func(ctx context.Context) error { return ask(ctx, web, "/readyz") },
		program, "--root", p.Root, "--log-level", "info", "serve", "--config", config)
	return s, err
}

// ask gets a page from a socket.
func ask(ctx context.Context, socket, path string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
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

// Said is the end of what the daemon has written.
func (d *daemon) Said() string { return string(d.said()) }
