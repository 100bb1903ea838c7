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

// Options say where and how patiently a Control works. The zero value is right
// for a host.
type Options struct {
	Dev string // where the device nodes are: /dev
	Sys string // where sysfs is: /sys

	// Timeout bounds each operation, beside its context: 10 s.
	Timeout time.Duration

	// Attempts bounds how often Attach tries again after another process took
	// the device first: 100.
	Attempts int

	// LockFile serialises the attaching of processes on kernels before 5.8:
	// /run/lock/thinctl-loop.lock.
	LockFile string

	// Legacy attaches the way of kernels before 5.8 even on a newer one.
	Legacy bool
}

// Control is the kernel's loop driver. It may be used by many goroutines and
// many processes at once.
type Control struct {
	dev, sys string
	timeout  time.Duration
	attempts int
	lockFile string
	legacy   atomic.Bool

	// attaching lets one goroutine at a time look for a free device: the kernel
	// hands the same one to all that ask.
	attaching chan struct{}

	autoclear struct {
		sync.Mutex
		open map[string]*os.File
	}
}

var _ Loops = (*Control)(nil)

// New returns a Control. It touches nothing yet.
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

// Close lets go of the devices attached with Autoclear: the kernel detaches
// those that nobody else has open.
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

func (c *Control) hold(path string, f *os.File) {
	c.autoclear.Lock()
	defer c.autoclear.Unlock()
	if old := c.autoclear.open[path]; old != nil {
		old.Close()
	}
	c.autoclear.open[path] = f
}

// letGo closes the handle that keeps an autoclear device, if there is one.
func (c *Control) letGo(path string) (held bool) {
	c.autoclear.Lock()
	defer c.autoclear.Unlock()
	f := c.autoclear.open[path]
	if f == nil {
		return false
	}
	delete(c.autoclear.open, path)
	f.Close()
	return true
}

// bound gives an operation its own limit beside the caller's.
func (c *Control) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// maxSectorSize is the page size: what every kernel's loop driver takes
// (drivers/block/loop.c, loop_validate_block_size; blk_validate_block_size).
func maxSectorSize() units.Bytes { return units.Bytes(os.Getpagesize()) }
