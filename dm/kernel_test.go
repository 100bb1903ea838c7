//go:build kernel

package dm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/testkit/dmtest"
	"thinctl/loopback"
	"thinctl/units"
)

// TestContract runs the suite of the kernel in memory on the real kernel. It needs root.
func TestContract(t *testing.T) {
	dmtest.Contract(t, func(t *testing.T) dmtest.Fixture { return newLoopFixture(t) })
}

// Protocol 4.27 lacks some ioctls and fields: its wait for an event cannot be ended, and
// its list of devices has no flags. The code for it passes the suite too.
func TestContractOfAnOldProtocol(t *testing.T) {
	dmtest.Contract(t, func(t *testing.T) dmtest.Fixture {
		r := newLoopFixture(t)
		r.kernel.PretendProtocol(dm.Version{4, 27, 0})
		return r
	})
}

// A device's own node can be made concurrently, and leads to no other device.
func TestOwnNode(t *testing.T) {
	kernel := newLoopFixture(t).kernel
	const name = dm.Name("own node")
	activate := func() dm.Info {
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
	info := activate()
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
		t.Error("HasOwnNode: got false, want true")
	}
	if stat, err := os.Stat(name.OwnNode()); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("mode of %s: got %v, %v, want 0600", name.OwnNode(), stat.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(name.OwnNode()))
	if err != nil || len(entries) != 1 {
		t.Errorf("directory of the node: got %v, %v, want only the node", entries, err)
	}
	remove := func() {
		t.Helper()
		if _, err := kernel.Remove(t.Context(), dm.ByName(name), dm.RemoveOptions{NoUdevSync: true}); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	if _, err := dm.NodeNumber(name.OwnNode()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after the removal: got %v, want no node", name.OwnNode(), err)
	}

	// Another program has removed the device, so that its node still exists.
	stale := blockdev.Number{Major: info.Dev.Major, Minor: info.Dev.Minor + 1000}
	if err := unix.Mknod(name.OwnNode(), unix.S_IFBLK|0o600, int(unix.Mkdev(stale.Major, stale.Minor))); err != nil {
		t.Fatal(err)
	}
	info = activate()
	if kernel.HasOwnNode(t.Context(), info) {
		t.Error("HasOwnNode with a node of another device: got true, want false")
	}
	if err := kernel.MakeOwnNode(t.Context(), info); err != nil {
		t.Error(err)
	}
	leads(info.Dev)
	remove()
}

// loopFixture is the real kernel with loop devices on sparse files.
type loopFixture struct {
	*testing.T
	kernel *dm.Control
	loops  *loopback.Control

	mu    sync.Mutex
	disks map[blockdev.Number]loopback.Device
}

func newLoopFixture(t *testing.T) *loopFixture {
	t.Helper()
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatalf("open: got %v, want a device mapper: run the test as root in the guest of tests/lab/run", err)
	}
	r := &loopFixture{
		T: t, kernel: kernel, loops: loopback.New(loopback.Options{}), disks: map[blockdev.Number]loopback.Device{},
	}
	t.TempDir() // its removal is after the cleanup below
	t.Cleanup(func() {
		// This cleanup is the last one, when no device uses the disks any more.
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

func (r *loopFixture) Kernel() dm.Kernel { return r.kernel }

func (r *loopFixture) Disk(size units.Bytes) blockdev.Number {
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

func (r *loopFixture) Grow(dev blockdev.Number, size units.Bytes) {
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

// open opens a device by its number, through a node that udev does not change.
func (r *loopFixture) open(dev blockdev.Number, flags int) (*os.File, error) {
	node := filepath.Join(r.TempDir(), "node")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(dev.Major, dev.Minor))); err != nil {
		return nil, err
	}
	defer os.Remove(node)
	return os.OpenFile(node, flags, 0)
}

func (r *loopFixture) Write(dev blockdev.Number, offset, length units.Bytes) error {
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

func (r *loopFixture) Discard(dev blockdev.Number, offset, length units.Bytes) error {
	file, err := r.open(dev, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	return blockdev.Discard(file, offset, length)
}

func (r *loopFixture) Hold(dev blockdev.Number) (func(), error) {
	file, err := r.open(dev, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { file.Close() }), nil
}
