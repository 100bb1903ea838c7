package metadata

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/internal/testkit/need"

	"golang.org/x/sys/unix"
)

func TestReadAtAnyRange(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 20480, 20480 + 512, 20480 + 700} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
		m, err := Open(writeFile(t, "meta", content))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if !m.direct {
			t.Error("the test directory is on a file system without direct IO")
		}
		for range 200 {
			off, p := rand.Int64N(int64(size)+5000), make([]byte, rand.IntN(9000))
			if rand.IntN(3) == 0 {
				off, p = off/4096*4096, aligned((len(p)+4095)/4096*4096)
			}
			want := make([]byte, len(p))
			wantN, wantErr := bytes.NewReader(content).ReadAt(want, off)
			n, err := m.ReadAt(p, off)
			if n != wantN || !bytes.Equal(p[:n], want[:n]) || (n < len(p)) != errors.Is(err, io.EOF) ||
				(n == len(p) && err != nil && !errors.Is(err, io.EOF)) {
				t.Fatalf("read of %d bytes at %d of %d: got %d, %v; want %d, %v", len(p), off, size, n, err, wantN, wantErr)
			}
		}
	}
	m, err := Open(writeFile(t, "meta", make([]byte, 4096)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("got no error for a negative offset")
	}
}

// ramfs does not support direct IO, like tmpfs before Linux 6.6.
func TestWithoutDirectIO(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		t.Fatalf("mount ramfs at %s: %v (root is needed)", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	path := filepath.Join(dir, "meta")
	if err := os.WriteFile(path, newImage(someDevices(20), 3).b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteUUID(path, uuid); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.direct {
		t.Error("ramfs was opened with direct IO")
	}
	if devices, err := read(m); err != nil || len(devices) != 20 {
		t.Errorf("got %d devices, %v; want 20", len(devices), err)
	}
	if s, err := ReadSuperblock(m); err != nil || s.UUID != uuid {
		t.Errorf("got uuid %x, %v; want %x", s.UUID, err, uuid)
	}
}

// loop attaches a file to a loop device until the end of the test.
func loop(t *testing.T, file string) string {
	t.Helper()
	return need.Loop(t, file, 0).Name()
}

func TestOpenOffline(t *testing.T) {
	file := writeFile(t, "meta", newImage(someDevices(20), 3).b)
	device := loop(t, file)
	for _, path := range []string{file, device} {
		m, err := OpenOffline(path)
		if err != nil {
			t.Fatal(err)
		}
		if devices, err := read(m); err != nil || len(devices) != 20 {
			t.Errorf("%s: got %d devices, %v; want 20", path, len(devices), err)
		}
		if size, err := m.Size(); err != nil || size%BlockSize != 0 || size == 0 {
			t.Errorf("%s: got size %d, %v; want a multiple of the block size", path, size, err)
		}
		_, err = OpenOffline(path)
		if claimed := path == device; claimed != errors.Is(err, fault.Busy) {
			t.Errorf("open %s again: got %v", path, err)
		}
		live, err := Open(path)
		if err != nil {
			t.Fatalf("open %s while it is claimed: %v", path, err)
		}
		live.Close()
		m.Close()
	}
}
