package programs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// StartProxied starts a containerd below dir that has the snapshotters behind these sockets
// as proxy plugins, by their names. It is the one in the directory THINCTL_CONTAINERD_BIN,
// or else on PATH.
func StartProxied(ctx context.Context, dir string, sockets map[string]string) (*Containerd, error) {
	r, err := findRelease(ctx, os.Getenv("THINCTL_CONTAINERD_BIN"))
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "proxies.toml")
	if err := os.WriteFile(config, []byte(r.proxies(sockets)), 0o600); err != nil {
		return nil, err
	}
	return r.start(ctx, dir, config)
}

// StartConfigured starts the same containerd with these files for its configuration; other
// settings keep containerd's defaults.
func StartConfigured(ctx context.Context, dir string, files ...string) (*Containerd, error) {
	r, err := findRelease(ctx, os.Getenv("THINCTL_CONTAINERD_BIN"))
	if err != nil {
		return nil, err
	}
	return r.start(ctx, dir, files...)
}

func (r release) start(ctx context.Context, dir string, files ...string) (*Containerd, error) {
	root := filepath.Join(dir, "containerd")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	run, err := os.MkdirTemp("/run", "containerd-")
	if err != nil {
		return nil, err
	}
	c := &Containerd{address: run + "/containerd.sock", release: r}
	if err := replaceLink(c.address, containerdSocket(dir)); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("version = %d\nroot = %q\nstate = %q\nimports = [", min(r.major+1, 3), root+"/root", run+"/state")
	for _, file := range files {
		text += fmt.Sprintf("%q, ", file)
	}
	text += fmt.Sprintf("]\n[grpc]\n  address = %q\n", c.address)
	config := filepath.Join(root, "config.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(r.program("containerd"), "-c", config)
	cmd.Env = r.environment()
	c.daemon, err = startCommand(ctx, filepath.Join(dir, "containerd.log"), func(ctx context.Context) error {
		_, err := c.Do(ctx, "version")
		return err
	}, cmd)
	return c, err
}

// AsSystem makes the daemon the one at the path of the system's containerd, which the
// snippets name.
func (c *Containerd) AsSystem() error {
	const socket = "/run/containerd/containerd.sock"
	if err := os.MkdirAll(filepath.Dir(socket), 0o711); err != nil {
		return err
	}
	return replaceLink(c.address, socket)
}

// containerdSocket is a link to the socket of the containerd that was started last
// below dir. StartSnapshotter configures thinctl with it.
func containerdSocket(dir string) string { return filepath.Join(dir, "containerd.sock") }

func replaceLink(to, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(to, path)
}

// Differs reports whether the daemon requests differences from thinctl.
func (c *Containerd) Differs() bool { return c.release.major >= 2 }

// Version returns the daemon's version.
func (c *Containerd) Version() string { return c.release.version }

// ContainerdVersion returns the version of the containerd that StartProxied starts.
func ContainerdVersion(ctx context.Context) (string, error) {
	r, err := findRelease(ctx, os.Getenv("THINCTL_CONTAINERD_BIN"))
	return r.version, err
}
