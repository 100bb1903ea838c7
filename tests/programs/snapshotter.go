package programs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Snapshotter is a `thinctl snapshotter` in the background.
type Snapshotter struct {
	*daemon
	Socket string
}

// StartSnapshotter serves p's pool on a socket, with the log in dir.
func StartSnapshotter(ctx context.Context, p Thinctl, dir, socket string, flags ...string) (*Snapshotter, error) {
	program := p.Program
	if program == "" {
		program = "thinctl"
	}
	log, err := os.CreateTemp(dir, "snapshotter-*.log")
	if err != nil {
		return nil, err
	}
	log.Close()
	s := &Snapshotter{Socket: socket}
	s.daemon, err = startDaemon(ctx, log.Name(), func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	}, program, append([]string{"--root", p.Root, "--log-level", "info", "snapshotter", p.Pool, "--socket", socket}, flags...)...)
	return s, err
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

// proxies is the configuration of proxy plugins.
func proxies(sockets map[string]string) (text string) {
	for name, socket := range sockets {
		text += fmt.Sprintf("[proxy_plugins.%s]\n  type = \"snapshot\"\n  address = %q\n", name, socket)
	}
	return text
}

// StartProxied starts a containerd below dir that has the snapshotters behind
// these sockets as proxy plugins, by their names.
func StartProxied(ctx context.Context, dir string, sockets map[string]string) (*Containerd, error) {
	root := filepath.Join(dir, "containerd")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	run, err := os.MkdirTemp("/run", "containerd-")
	if err != nil {
		return nil, err
	}
	c := &Containerd{address: run + "/containerd.sock"}
	config := filepath.Join(root, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n",
		root+"/root", run+"/state", c.address)
	text += proxies(sockets)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c.daemon, err = startDaemon(ctx, filepath.Join(dir, "containerd.log"), func(ctx context.Context) error {
		_, err := c.Do(ctx, "version")
		return err
	}, "containerd", "-c", config)
	return c, err
}
