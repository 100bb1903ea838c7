package looptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/units"
)

// Hooks observes and changes the operations of a Kernel. Each function may be nil. A
// Kernel calls one at a time. They may call Attached and PowerOff, but no operation of
// Loops.
type Hooks struct {
	OnAttach func(d loopback.Device, size units.Bytes)
	OnResize func(d loopback.Device, size units.Bytes)
	OnDetach func(d loopback.Device)

	// Busy reports whether a device is open: Detach then waits.
	Busy func(d loopback.Device) bool

	// Fault is called before each operation: for attach and find with the file, for
	// info, refresh and detach with the device. If it returns an error, the operation
	// fails with it and changes nothing.
	Fault func(op, path string) error

	// NoDirectIO stands for a host file system without direct IO.
	NoDirectIO bool
}

// Kernel implements loopback.Loops in memory.
type Kernel struct {
	// Timeout limits the time for which Detach waits for Busy; New sets 100 ms.
	Timeout time.Duration

	hooks Hooks

	// operation serialises the operations, each with its callbacks.
	operation chan struct{}

	mu    sync.Mutex
	bound map[int]*binding
}

type binding struct {
	dev    loopback.Device
	file   *os.File // open, so that the host does not reuse the inode
	size   units.Bytes
	sector units.Bytes
	auto   bool
}

var _ loopback.Loops = (*Kernel)(nil)

// New returns a Kernel without attachments. PowerOff closes its files.
func New(h Hooks) *Kernel {
	return &Kernel{
		Timeout: 100 * time.Millisecond, hooks: h,
		operation: make(chan struct{}, 1), bound: map[int]*binding{},
	}
}

// begin waits for the operation in progress and calls the hook Fault. The caller calls
// end when its operation is complete.
func (k *Kernel) begin(ctx context.Context, op, path string) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, opError(op, path, nil, err, "")
	}
	select {
	case k.operation <- struct{}{}:
	case <-ctx.Done():
		return nil, opError(op, path, fault.Busy, context.Cause(ctx), "")
	}
	end = func() { <-k.operation }
	if k.hooks.Fault != nil {
		if err := k.hooks.Fault(op, path); err != nil {
			end()
			return nil, opError(op, path, nil, err, "")
		}
	}
	return end, nil
}

// Attach implements loopback.Loops.
func (k *Kernel) Attach(ctx context.Context, file string, o loopback.AttachOptions) (loopback.Device, error) {
	end, err := k.begin(ctx, "attach", file)
	if err != nil {
		return loopback.Device{}, err
	}
	defer end()
	if err := o.Validate(); err != nil {
		return loopback.Device{}, opError("attach", file, fault.Invalid, err, "")
	}
	f, st, err := openRegular(file, o.ReadOnly)
	if err != nil {
		return loopback.Device{}, opError("attach", file, nil, err, "")
	}
	if existing := k.behind(fileID(st)); len(existing) > 0 {
		f.Close()
		return k.reuse(file, existing[0], o)
	}
	b := k.bind(f, st, o)
	if k.hooks.OnAttach != nil {
		k.hooks.OnAttach(b.dev, b.size)
	}
	return b.dev, nil
}

func (k *Kernel) bind(f *os.File, st os.FileInfo, o loopback.AttachOptions) *binding {
	k.mu.Lock()
	defer k.mu.Unlock()
	index := 0
	for k.bound[index] != nil {
		index++
	}
	b := &binding{file: f, size: wholeSectors(st), sector: units.SectorSize, auto: o.Autoclear}
	if o.SectorSize != 0 {
		b.sector = o.SectorSize
	}
	b.dev = loopback.Device{
		Path:   fmt.Sprintf("/dev/loop%d", index),
		Number: blockdev.Number{Major: 7, Minor: uint32(index)},
		File:   f.Name(), Backing: fileID(st),
		DirectIO: !o.Buffered && !k.hooks.NoDirectIO, ReadOnly: o.ReadOnly,
	}
	k.bound[index] = b
	return b
}

func (k *Kernel) reuse(file string, b *binding, o loopback.AttachOptions) (loopback.Device, error) {
	attached := func(how string) (loopback.Device, error) {
		return loopback.Device{}, opError("attach", file, loopback.ErrAttached, nil, "as "+b.dev.Path+how)
	}
	switch {
	case !o.Reuse:
		return attached("")
	case b.dev.ReadOnly != o.ReadOnly:
		return attached(", with another read-only flag")
	case o.SectorSize != 0 && o.SectorSize != b.sector:
		return attached(", with another sector size")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	b.auto = o.Autoclear
	named := b.dev
	named.File = file
	return named, nil
}

// Find implements loopback.Loops.
func (k *Kernel) Find(ctx context.Context, file string) ([]loopback.Device, error) {
	end, err := k.begin(ctx, "find", file)
	if err != nil {
		return nil, err
	}
	defer end()
	st, err := os.Stat(file)
	var found []*binding
	switch {
	case err == nil:
		found = k.behind(fileID(st))
	case errors.Is(err, os.ErrNotExist):
		found = k.deleted(file)
	default:
		return nil, opError("find", file, nil, err, "")
	}
	var devices []loopback.Device
	for _, b := range found {
		d := b.dev
		if d.File = file; err != nil {
			d.File = kernelPath(b.file)
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// Info implements loopback.Loops.
func (k *Kernel) Info(ctx context.Context, d loopback.Device) (loopback.Info, error) {
	end, err := k.begin(ctx, "info", d.Path)
	if err != nil {
		return loopback.Info{}, err
	}
	defer end()
	b, err := k.ours("info", d)
	if err != nil {
		return loopback.Info{}, err
	}
	named := b.dev
	named.File = d.File
	return loopback.Info{
		Device: named, BackingPath: kernelPath(b.file), Size: b.size, SectorSize: b.sector,
		DirectIO: b.dev.DirectIO, ReadOnly: b.dev.ReadOnly, Autoclear: b.auto,
	}, nil
}

// Refresh implements loopback.Loops.
func (k *Kernel) Refresh(ctx context.Context, d loopback.Device) (units.Bytes, error) {
	end, err := k.begin(ctx, "refresh", d.Path)
	if err != nil {
		return 0, err
	}
	defer end()
	b, err := k.ours("refresh", d)
	if err != nil {
		return 0, err
	}
	st, err := b.file.Stat()
	if err != nil {
		return 0, opError("refresh", d.Path, nil, err, "")
	}
	size := wholeSectors(st)
	k.mu.Lock()
	changed := size != b.size
	b.size = size
	k.mu.Unlock()
	if changed && k.hooks.OnResize != nil {
		k.hooks.OnResize(b.dev, size)
	}
	return size, nil
}

// Detach implements loopback.Loops.
func (k *Kernel) Detach(ctx context.Context, d loopback.Device) error {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	for again := false; ; again = true {
		done, err := k.detachOnce(ctx, d, again)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return opError("detach", d.Path, fault.Busy, errors.Join(syscall.EBUSY, context.Cause(ctx)), "held by the test")
		case <-time.After(time.Millisecond):
		}
	}
}

func (k *Kernel) detachOnce(ctx context.Context, d loopback.Device, again bool) (done bool, err error) {
	if again && ctx.Err() != nil {
		return false, nil
	}
	end, err := k.beginAgain(ctx, d, again)
	if err != nil {
		return false, err
	}
	defer end()
	b, err := k.ours("detach", d)
	if err != nil {
		return false, err
	}
	if k.busy(b) {
		return false, nil
	}
	k.forget(b)
	if k.hooks.OnDetach != nil {
		k.hooks.OnDetach(b.dev)
	}
	return true, nil
}

func openRegular(path string, readOnly bool) (*os.File, os.FileInfo, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = loopback.ErrNotRegular
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(filepath.Clean(path), flags, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err = f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

func opError(op, path string, kind, err error, detail string) error {
	return &loopback.Error{Op: op, Object: path, Kind: kind, Err: err, Detail: detail}
}
