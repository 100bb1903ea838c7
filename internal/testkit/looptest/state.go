package looptest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/units"
)

// Attached returns every attached device, by number.
func (k *Kernel) Attached() []loopback.Device {
	var all []loopback.Device
	for _, b := range k.bindings() {
		all = append(all, b.dev)
	}
	return all
}

// Kill simulates the end of the process: the kernel detaches the autoclear devices
// that are not open, and keeps the others.
func (k *Kernel) Kill() {
	k.operation <- struct{}{}
	defer func() { <-k.operation }()
	for _, b := range k.bindings() {
		if b.auto && !k.busy(b) {
			k.forget(b)
			if k.hooks.OnDetach != nil {
				k.hooks.OnDetach(b.dev)
			}
		}
	}
}

// PowerOff drops all attachments, without a call of OnDetach: a power cut also ends
// the device mapper above. The Kernel can be used again, as after a boot.
func (k *Kernel) PowerOff() {
	for _, b := range k.bindings() {
		k.forget(b)
	}
}

func (k *Kernel) beginAgain(ctx context.Context, d loopback.Device, again bool) (func(), error) {
	if !again {
		return k.begin(ctx, "detach", d.Path)
	}
	// The first attempt has called the hook Fault.
	select {
	case k.operation <- struct{}{}:
		return func() { <-k.operation }, nil
	case <-ctx.Done():
		return nil, opError("detach", d.Path, fault.Busy, context.Cause(ctx), "")
	}
}

func (k *Kernel) busy(b *binding) bool { return k.hooks.Busy != nil && k.hooks.Busy(b.dev) }

func (k *Kernel) bindings() []*binding {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []*binding
	for _, b := range k.bound {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *binding) int { return int(a.dev.Number.Minor) - int(b.dev.Number.Minor) })
	return all
}

func (k *Kernel) forget(b *binding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.bound, int(b.dev.Number.Minor))
	b.file.Close()
}

func (k *Kernel) behind(id loopback.FileID) []*binding {
	return slices.DeleteFunc(k.bindings(), func(b *binding) bool { return b.dev.Backing != id })
}

func (k *Kernel) deleted(file string) []*binding {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(dir, filepath.Base(abs))
	}
	return slices.DeleteFunc(k.bindings(), func(b *binding) bool { return kernelPath(b.file) != abs+" (deleted)" })
}

func (k *Kernel) ours(op string, d loopback.Device) (*binding, error) {
	for _, b := range k.bindings() {
		if b.dev.Path != d.Path {
			continue
		}
		if b.dev.Backing != d.Backing {
			return nil, opError(op, d.Path, loopback.ErrForeign, nil, "")
		}
		return b, nil
	}
	if d.Backing == (loopback.FileID{}) && op == "detach" {
		return nil, opError(op, d.Path, loopback.ErrForeign, nil, "")
	}
	return nil, opError(op, d.Path, loopback.ErrNotAttached, syscall.ENXIO, "")
}

// kernelPath returns the kernel's path of the open file. The real loop driver shows
// the same text in sysfs.
func kernelPath(f *os.File) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return f.Name()
	}
	return path
}

func fileID(st os.FileInfo) loopback.FileID {
	sys := st.Sys().(*syscall.Stat_t)
	return loopback.FileID{Device: uint64(sys.Dev), Inode: sys.Ino}
}

func wholeSectors(st os.FileInfo) units.Bytes {
	return units.Bytes(st.Size()).Sectors().Bytes()
}
