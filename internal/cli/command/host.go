package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/cli/exit"
	"thinctl/loopback"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// OnHost opens the host and runs do.
func (c *Call) OnHost(do func() error) (err error) {
	if c.EUID() != 0 {
		return exit.Errorf(fault.Denied, "%s needs root: run it with sudo", c.name())
	}
	host, closer, err := c.OpenHost(c.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	c.Host = host
	if c.Host.BusyTimeout, err = c.busyTimeout(); err != nil {
		return err
	}
	return do()
}

// OnPool opens a pool and runs do.
func (c *Call) OnPool(name string, do func(*thinpool.Pool) error) error {
	return c.OnHost(func() (err error) {
		pool, err := thinpool.Open(c.Ctx, c.Host, c.Root(), name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, pool.Close(context.WithoutCancel(c.Ctx))) }()
		return do(pool)
	})
}

// OnPools opens one pool, or each pool if name is "", and runs do. It continues after a pool that
// fails.
func (c *Call) OnPools(name string, do func(*thinpool.Pool) error) error {
	if name != "" {
		return c.OnPool(name, do)
	}
	return c.OnHost(func() error {
		names, err := thinpool.List(c.Root())
		if err != nil {
			return fmt.Errorf("list the pools of %s: %w", c.Root(), err)
		}
		var faults []error
		for _, name := range names {
			pool, err := thinpool.Open(c.Ctx, c.Host, c.Root(), name)
			if err == nil {
				err = errors.Join(do(pool), pool.Close(context.WithoutCancel(c.Ctx)))
			}
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	})
}

// FileSystems are the operations on the file systems of volumes.
type FileSystems interface {
	snapshots.Files
	thinpool.Trimmer
}

// LocalFiles are the file systems of the host that thinctl runs on.
type LocalFiles struct{ filesystem.Local }

var _ FileSystems = LocalFiles{}

// MountPoint returns the first read-write mount. A read-only mount cannot be trimmed.
func (LocalFiles) MountPoint(_ context.Context, device blockdev.Number) (string, error) {
	mounts, err := filesystem.Mounts(device)
	for _, mount := range mounts {
		if !mount.ReadOnly {
			return mount.Path, err
		}
	}
	return "", err
}

// LocalHost opens the host that thinctl runs on.
func LocalHost(logger *slog.Logger) (thinpool.Host, io.Closer, error) {
	kernel, err := dm.Open(dm.Options{Logger: logger})
	if err != nil {
		return thinpool.Host{}, nil, err
	}
	loops := loopback.New(loopback.Options{})
	host := thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{},
		Holders: snapshots.Holders(filesystem.Local{})}
	return host, closers{kernel, loops}, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var faults []error
	for _, one := range c {
		faults = append(faults, one.Close())
	}
	return errors.Join(faults...)
}
