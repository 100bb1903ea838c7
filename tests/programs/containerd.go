package programs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Containerd is a daemon with two snapshotters: overlayfs, and devmapper on a pool that is
// made for it on loop devices, as its documentation describes.
type Containerd struct {
	*daemon
	address string
	release release // the zero value is the one in PATH
}

// Sizes of the devmapper snapshotter's pool, with blocks of 64 KiB as in all other pools.
const (
	containerdData = 20 << 30
	containerdMeta = 1 << 30
)

// StartContainerd starts a daemon that keeps its images below dir.
func StartContainerd(ctx context.Context, dir string) (*Containerd, error) {
	return StartContainerdWith(ctx, dir, nil, "")
}

// StartContainerdWith starts a daemon with the snapshotters behind these sockets as proxy
// plugins, by their names, and with more in its configuration.
func StartContainerdWith(ctx context.Context, dir string, sockets map[string]string, more string) (*Containerd, error) {
	root, pool := filepath.Join(dir, "containerd"), "containerd-"+filepath.Base(dir)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	run, err := os.MkdirTemp("/run", "containerd-")
	if err != nil {
		return nil, err
	}
	if err := makePool(ctx, pool, root); err != nil {
		return nil, err
	}
	c := &Containerd{address: run + "/containerd.sock"}
	if err := replaceLink(c.address, containerdSocket(dir)); err != nil {
		return nil, err
	}
	config := filepath.Join(root, "config.toml")
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = %q
[plugins."io.containerd.snapshotter.v1.devmapper"]
  root_path = %q
  pool_name = %q
  base_image_size = "10GB"
  discard_blocks = true
  fs_type = "ext4"
`, root+"/root", run+"/state", c.address, root+"/devmapper", pool)
	text += proxies(sockets) + more
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c.daemon, err = startDaemon(ctx, filepath.Join(dir, "containerd.log"), func(ctx context.Context) error {
		_, err := c.Do(ctx, "version")
		return err
	}, "containerd", "-c", config)
	return c, err
}

func makePool(ctx context.Context, name, root string) error {
	var loops []string
	for _, part := range []struct {
		name string
		size int64
	}{{"metadata", containerdMeta}, {"data", containerdData}} {
		path := filepath.Join(root, part.name)
		if _, err := Run(ctx, "truncate", "-s", strconv.FormatInt(part.size, 10), path); err != nil {
			return err
		}
		loop, err := Run(ctx, "losetup", "--find", "--show", "--direct-io=on", path)
		if err != nil {
			return err
		}
		loops = append(loops, loop)
	}
	_, err := Run(ctx, "dmsetup", "create", name, "--table",
		"0 "+strconv.Itoa(containerdData/512)+" thin-pool "+strings.Join(loops, " ")+" 128 32768 1 skip_block_zeroing")
	return err
}

// Address returns the daemon's socket.
func (c *Containerd) Address() string { return c.address }

// Do runs the ctr command.
func (c *Containerd) Do(ctx context.Context, args ...string) (string, error) {
	return Run(ctx, c.release.program("ctr"), append([]string{"-a", c.address}, args...)...)
}

// Snapshots runs ctr's command for one snapshotter.
func (c *Containerd) Snapshots(ctx context.Context, snapshotter string, args ...string) (string, error) {
	return c.Do(ctx, append([]string{"snapshots", "--snapshotter", snapshotter}, args...)...)
}

// Diff writes the difference of a snapshot to its parent as a layer; args are further
// flags of ctr snapshots diff.
func (c *Containerd) Diff(ctx context.Context, snapshotter, key string, args ...string) ([]byte, error) {
	args = append([]string{"-a", c.address, "snapshots", "--snapshotter", snapshotter, "diff"}, args...)
	return command{ctx: ctx}.raw(c.release.program("ctr"), append(args, key)...)
}

// Import loads an archive and unpacks it.
func (c *Containerd) Import(ctx context.Context, snapshotter, archive string) error {
	_, err := c.Do(ctx, "images", "import", "--snapshotter", snapshotter, archive)
	return err
}

// Mount mounts an active snapshot as ctr prints its mount.
func (c *Containerd) Mount(ctx context.Context, snapshotter, key, target string) error {
	line, err := c.Snapshots(ctx, snapshotter, "mounts", target, key)
	if err != nil {
		return err
	}
	args := strings.Fields(line) // mount -t TYPE SOURCE TARGET -o OPTIONS
	if n := len(args); n > 0 && args[n-1] == "-o" {
		args = args[:n-1] // there are none
	}
	if len(args) < 2 || args[0] != "mount" {
		return fmt.Errorf("ctr snapshots mounts: unexpected output %q", line)
	}
	_, err = Run(ctx, args[0], args[1:]...)
	return err
}
