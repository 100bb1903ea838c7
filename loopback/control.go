package loopback

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"thinctl/units"
)

// Options sets the paths and the limits of a Control. The zero value is right on
// every ordinary host.
type Options struct {
	Dev string // directory of the device nodes; default /dev
	Sys string // mount point of sysfs; default /sys

	// Timeout limits each operation, in addition to its context; default 10 s.
	Timeout time.Duration

	// Attempts limits how often Attach tries again after another process took the
	// free device first; default 100.
	Attempts int

	// LockFile serialises the attachments of all processes on kernels before 5.8;
	// default /run/lock/thinctl-loop.lock.
	LockFile string

	// Legacy uses the calls of kernels before 5.8 on newer kernels too.
	Legacy bool
}

// Control attaches files with the kernel's loop driver. Goroutines and processes
// may use it concurrently.
type Control struct {
	dev, sys string
	timeout  time.Duration
	attempts int
	lockFile string
	legacy   atomic.Bool

	// attaching lets one goroutine at a time search for a free device: the kernel
	// returns the same device to all of them.
	attaching chan struct{}

	autoclear struct {
		sync.Mutex
		open map[string]*os.File
	}
}

var _ Loops = (*Control)(nil)

// New returns a Control. It opens no device.
func New(o Options) *Control {
	c := &Control{
		dev:       cmp.Or(o.Dev, "/dev"),
		sys:       cmp.Or(o.Sys, "/sys"),
		timeout:   cmp.Or(o.Timeout, 10*time.Second),
		attempts:  cmp.Or(o.Attempts, 100),
		lockFile:  cmp.Or(o.LockFile, "/run/lock/thinctl-loop.lock"),
		attaching: make(chan struct{}, 1),
	}
	c.legacy.Store(o.Legacy)
	c.autoclear.open = map[string]*os.File{}
	return c
}

// Close closes the devices that were attached with Autoclear. The kernel detaches
// each one that no other process has open.
func (c *Control) Close() error {
	c.autoclear.Lock()
	defer c.autoclear.Unlock()
	var errs []error
	for path, f := range c.autoclear.open {
		errs = append(errs, f.Close())
		delete(c.autoclear.open, path)
	}
	return errors.Join(errs...)
}

// keepOpen keeps an autoclear device open until Close.
func (c *Control) keepOpen(path string, f *os.File) {
	c.autoclear.Lock()
	defer c.autoclear.Unlock()
	if old := c.autoclear.open[path]; old != nil {
		old.Close()
	}
	c.autoclear.open[path] = f
}

// release closes the handle that keeps an autoclear device open, if there is one.
func (c *Control) release(path string) {
	c.autoclear.Lock()
	defer c.autoclear.Unlock()
	if f := c.autoclear.open[path]; f != nil {
		delete(c.autoclear.open, path)
		f.Close()
	}
}

// withTimeout adds the limit of one operation to ctx.
func (c *Control) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// maxSectorSize returns the page size, the largest sector size of every kernel's loop
// driver (drivers/block/loop.c, loop_validate_block_size; blk_validate_block_size).
func maxSectorSize() units.Bytes { return units.Bytes(os.Getpagesize()) }
