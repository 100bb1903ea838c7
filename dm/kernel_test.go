//go:build kernel

package dm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/testkit/dmtest"
	"thinctl/loopback"
	"thinctl/units"
)

// The suite that the kernel in memory passes, on the real one: in the lab's
// guest, as root.
func TestContract(t *testing.T) {
	dmtest.Contract(t, func(t *testing.T) dmtest.Rig { return newLoopRig(t) })
}

// What is done where an ioctl or a field is missing passes it too: protocol 4.27
// has no wait that can be given up and no flags in the list of devices.
func TestContractOfAnOldProtocol(t *testing.T) {
	dmtest.Contract(t, func(t *testing.T) dmtest.Rig {
		r := newLoopRig(t)
		r.kernel.PretendProtocol(dm.Version{4, 27, 0})
		return r
	})
}

// A device's own node is there whoever asks, and leads to no other device's.
func TestOwnNode(t *testing.T) {
	kernel := newLoopRig(t).kernel
	const name = dm.Name("own node")
	bring := func() dm.Info {
		t.Helper()
		_, err := kernel.Create(t.Context(), name, "")
		if err == nil {
			err = kernel.Load(t.Context(), dm.ByName(name), []dm.Target{dm.ErrorTarget{Length: 8}}, dm.LoadOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := kernel.Resume(t.Context(), dm.ByName(name), dm.ResumeOptions{Private: true, NoUdevSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := bring()
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if err := kernel.MakeOwnNode(t.Context(), info); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	leads := func(want blockdev.Number) {
		t.Helper()
		if got, err := dm.NodeNumber(name.OwnNode()); err != nil || got != want {
			t.Errorf("%s leads to %s, %v; want %s", name.OwnNode(), got, err, want)
		}
	}
	leads(info.Dev)
	if !kernel.HasOwnNode(t.Context(), info) {
		t.Error("it is not seen")
	}
	if stat, err := os.Stat(name.OwnNode()); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", name.OwnNode(), stat.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(name.OwnNode()))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the node there is %v, %v", entries, err)
	}
	remove := func() {
		t.Helper()
		if _, err := kernel.Remove(t.Context(), dm.ByName(name), dm.RemoveOptions{NoUdevSync: true}); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	if _, err := dm.NodeNumber(name.OwnNode()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: %s is still there: %v", name.OwnNode(), err)
	}

	// Somebody else has taken the device away, and its number is another's now.
	stale := blockdev.Number{Major: info.Dev.Major, Minor: info.Dev.Minor + 1000}
	if err := unix.Mknod(name.OwnNode(), unix.S_IFBLK|0o600, int(unix.Mkdev(stale.Major, stale.Minor))); err != nil {
		t.Fatal(err)
	}
	info = bring()
	if kernel.HasOwnNode(t.Context(), info) {
		t.Error("another device's node is taken for it")
	}
	if err := kernel.MakeOwnNode(t.Context(), info); err != nil {
		t.Error(err)
	}
	leads(info.Dev)
	remove()
}

// loopRig stands on sparse files behind loop devices.
type loopRig struct {
	*testing.T
	kernel *dm.Control
	loops  *loopback.Control

	mu    sync.Mutex
	disks map[blockdev.Number]loopback.Device
}

func newLoopRig(t *testing.T) *loopRig {
	t.Helper()
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatalf("this test needs a kernel with device mapper, as root; tests/lab/run brings one: %v", err)
	}
	r := &loopRig{T: t, kernel: kernel, loops: loopback.New(loopback.Options{}), disks: map[blockdev.Number]loopback.Device{}}
	t.TempDir() // its removal comes after the clean-up below
	t.Cleanup(func() {
		// Last of all, when no device stands on the disks any more.
		for _, d := range r.disks {
			if err := r.loops.Detach(context.Background(), d); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(r.kernel.Close(), r.loops.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *loopRig) Kernel() dm.Kernel { return r.kernel }

func (r *loopRig) Disk(size units.Bytes) blockdev.Number {
	r.Helper()
	path := filepath.Join(r.TempDir(), "disk")
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		r.Fatal(err)
	}
	d, err := r.loops.Attach(r.Context(), path, loopback.AttachOptions{})
	if err != nil {
		r.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disks[blockdev.Number(d.Number)] = d
	return blockdev.Number(d.Number)
}

func (r *loopRig) Grow(dev blockdev.Number, size units.Bytes) {
	r.Helper()
	r.mu.Lock()
	d := r.disks[dev]
	r.mu.Unlock()
	err := loopback.Grow(d.File, size, loopback.FileOptions{})
	if err == nil {
		_, err = r.loops.Refresh(r.Context(), d)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// open finds a device's node by its number, in a name that no udev rule gives.
func (r *loopRig) open(dev blockdev.Number, flags int) (*os.File, error) {
	node := filepath.Join(r.TempDir(), "node")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(dev.Major, dev.Minor))); err != nil {
		return nil, err
	}
	defer os.Remove(node)
	return os.OpenFile(node, flags, 0)
}

func (r *loopRig) Write(dev blockdev.Number, offset, length units.Bytes) error {
	file, err := r.open(dev, os.O_WRONLY|unix.O_DIRECT)
	if err != nil {
		return err
	}
	defer file.Close()
	page, err := unix.Mmap(-1, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(page)
	for i := range page {
		page[i] = byte(i)
	}
	_, err = file.WriteAt(page, int64(offset))
	return err
}

func (r *loopRig) Discard(dev blockdev.Number, offset, length units.Bytes) error {
	file, err := r.open(dev, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	span := [2]uint64{uint64(offset), uint64(length)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return errno
	}
	return nil
}

func (r *loopRig) Hold(dev blockdev.Number) (func(), error) {
	file, err := r.open(dev, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { file.Close() }), nil
}
