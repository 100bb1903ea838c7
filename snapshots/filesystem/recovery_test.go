package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNeedsRecovery(t *testing.T) {
	d := newDisk(t, 64<<20)
	needs := func(want bool) {
		t.Helper()
		if got, err := NeedsRecovery(d.device); got != want || err != nil {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	needs(false) // it holds nothing
	d.format(FormatOptions{Type: Ext4})
	needs(false)
	target := d.mount(MountOptions{})
	if err := errors.Join(os.WriteFile(filepath.Join(target, "x"), nil, 0o600), Sync(t.Context(), target)); err != nil {
		t.Fatal(err)
	}
	needs(true) // as a copy of it would, taken now
	if err := Freeze(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	needs(false)
	if err := errors.Join(Thaw(target), Unmount(t.Context(), target, UnmountOptions{})); err != nil {
		t.Fatal(err)
	}
	needs(false)
}

func TestNeedsRecoveryOfXFS(t *testing.T) {
	d := newDisk(t, 512<<20).format(FormatOptions{Type: XFS})
	if got, err := NeedsRecovery(d.device); !got || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestSync(t *testing.T) {
	d := newDisk(t, 64<<20).format(FormatOptions{Type: Ext4})
	if err := Sync(t.Context(), t.TempDir()); !errors.Is(err, ErrNotMounted) {
		t.Errorf("not mounted: got %v", err)
	}
	target := d.mount(MountOptions{})
	before := allocated(t, d.file)
	const size = 4 << 20
	if err := os.WriteFile(filepath.Join(target, "x"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Sync(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if more := allocated(t, d.file) - before; more < size {
		t.Errorf("got %s of %d bytes on the disk", more, size)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Sync(ended, target); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFailWhenFull(t *testing.T) {
	d := newDisk(t, 512<<20).format(FormatOptions{Type: XFS})
	d.mount(MountOptions{FailWhenFull: true})
	setting := filepath.Join("/sys/fs/xfs", filepath.Base(d.device), "error/metadata/ENOSPC/max_retries")
	got, err := os.ReadFile(setting)
	if err != nil && !errors.Is(err, os.ErrNotExist) || err == nil && string(got) != "0\n" {
		t.Errorf("%s: got %q, %v", setting, got, err)
	}
	// A kernel without it, and one that has it.
	sys := t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(d.device, &st); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(sys, "dev/block", numberOf(st.Rdev))
	if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o700), os.Symlink("../../devices/virtual/block/dm-7", link)); err != nil {
		t.Fatal(err)
	}
	if err := failWhenFull(sys, d.device); err != nil {
		t.Error(err)
	}
	setting = filepath.Join(sys, "fs/xfs/dm-7/error/metadata/ENOSPC/max_retries")
	if err := errors.Join(os.MkdirAll(filepath.Dir(setting), 0o700), os.WriteFile(setting, []byte("-"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := failWhenFull(sys, d.device); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(setting); string(got) != "0" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func numberOf(rdev uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev))
}
