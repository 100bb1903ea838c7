package filesystem

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

func TestMountAndUnmount(t *testing.T) {
	eachType(t, func(t *testing.T, kind Type, size units.Bytes) {
		d := newDisk(t, size).format(FormatOptions{Type: kind})
		target := filepath.Join(t.TempDir(), "a b", "mnt") // the blank is escaped in mountinfo
		if err := Mount(t.Context(), d.device, target, MountOptions{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without a target: got %v", err)
		}
		o := MountOptions{MakeTarget: true, Options: []string{"noatime,nodev", "nosuid"}}
		if err := Mount(t.Context(), d.device, target, o); err != nil {
			t.Fatal(err)
		}
		unmountAfter(t, target)
		if err := Mount(t.Context(), d.device, target, o); !errors.Is(err, ErrMountPoint) {
			t.Errorf("a second time: got %v", err)
		}
		points, err := Mounts(d.number())
		if err != nil || len(points) != 1 {
			t.Fatalf("got %+v, %v", points, err)
		}
		p := points[0]
		if p.Path != target || p.Root != "/" || p.Type != string(kind) || p.Source != d.device || p.ReadOnly {
			t.Errorf("got %+v", p)
		}
		want := []string{"noatime", "nodev", "nosuid", map[Type]string{Ext4: "noinit_itable", XFS: "nouuid"}[kind]}
		for _, option := range want {
			if !slices.Contains(p.Options, option) {
				t.Errorf("got the options %v, want %s too", p.Options, option)
			}
		}
		write(t, filepath.Join(target, "file"), 10)
		if err := Unmount(t.Context(), target, UnmountOptions{}); err != nil {
			t.Error(err)
		}
		if err := Unmount(t.Context(), target, UnmountOptions{}); !errors.Is(err, ErrNotMounted) {
			t.Errorf("unmounting twice: got %v", err)
		}
		if points, err := Mounts(d.number()); err != nil || points != nil {
			t.Errorf("got %+v, %v", points, err)
		}
		if info, err := os.Stat(filepath.Dir(target)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("got %v, %v", info, err)
		}
	})
}

// A copy of a mounted disk replaces a thin snapshot here: it has the same uuid and a
// journal to replay, and must not be written to.
func TestMountSnapshot(t *testing.T) {
	eachType(t, func(t *testing.T, kind Type, size units.Bytes) {
		origin := newDisk(t, size).format(FormatOptions{Type: kind})
		target := origin.mount(MountOptions{})
		write(t, filepath.Join(target, "file"), 5000)
		syncFS(t, target)
		if kind == XFS { // an idle xfs log may be clean
			shut(t, filepath.Join(target, "more"))
		}
		copied := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "--sparse=always", origin.file, copied).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		before, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		snapshot := attach(t, copied, unix.LO_FLAGS_READ_ONLY)
		at := filepath.Join(t.TempDir(), "mnt")
		o := MountOptions{MakeTarget: true, ReadOnly: true}
		if err := Mount(t.Context(), snapshot.device, at, o); err == nil {
			t.Fatal("got a mount, want an error for the journal on a read-only device")
		}
		if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the target after a failed mount: got %v, want it removed", err)
		}
		o.NoRecovery = true
		if err := Mount(t.Context(), snapshot.device, at, o); err != nil {
			t.Fatal(err)
		}
		unmountAfter(t, at)
		if points, err := Mounts(snapshot.number()); err != nil || len(points) != 1 || !points[0].ReadOnly {
			t.Errorf("got %+v, %v", points, err)
		}
		if _, err := os.ReadDir(at); err != nil {
			t.Error(err)
		}
		after, err := os.ReadFile(copied)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("got a changed snapshot, %v", err)
		}
	})
}

// shut makes a file and fsyncs it, so that the log has an entry to replay.
func shut(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestMountRefuses(t *testing.T) {
	d := newDisk(t, 64*units.MiB)
	dir := t.TempDir()
	link, file := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.Symlink(dir, link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Mount(t.Context(), d.device, dir, MountOptions{}); !errors.Is(err, ErrNoFilesystem) {
		t.Errorf("an empty device: got %v", err)
	}
	d.format(FormatOptions{Type: Ext4})
	for name, c := range map[string]struct {
		target string
		o      MountOptions
		want   error
	}{
		"a link":                  {link, MountOptions{}, fault.Invalid},
		"a file":                  {file, MountOptions{}, fault.Invalid},
		"a relative target":       {"mnt", MountOptions{}, fault.Invalid},
		"no recovery but writing": {dir, MountOptions{NoRecovery: true}, fault.Invalid},
		"a bind mount":            {dir, MountOptions{Options: []string{"bind"}}, fault.Invalid},
		"a remount":               {dir, MountOptions{Options: []string{"noatime,remount"}}, fault.Invalid},
		"another type":            {dir, MountOptions{Type: "proc"}, fault.Invalid},
		"the wrong type":          {dir, MountOptions{Type: XFS}, unix.EINVAL},
		"an unknown option":       {dir, MountOptions{Options: []string{"nonsense"}}, unix.EINVAL},
		"an option for the other": {dir, MountOptions{Options: []string{"nouuid"}}, unix.EINVAL},
	} {
		if err := Mount(t.Context(), d.device, c.target, c.o); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.target) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Mount(ended, d.device, dir, MountOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a dead context: got %v", err)
	}
	if points, err := Mounts(d.number()); err != nil || points != nil {
		t.Errorf("got %+v, %v", points, err)
	}
}

func TestUnmountBusy(t *testing.T) {
	d := newDisk(t, 64*units.MiB).format(FormatOptions{Type: Ext4})
	target := d.mount(MountOptions{})
	hold := func() *os.File {
		f, err := os.Create(filepath.Join(target, "open"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	early := hold()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := Unmount(ctx, target, UnmountOptions{}); !errors.Is(err, fault.Busy) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("got %v until the error", took)
	}
	time.AfterFunc(150*time.Millisecond, func() { early.Close() })
	if err := Unmount(t.Context(), target, UnmountOptions{}); err != nil {
		t.Errorf("after a while: got %v", err)
	}
	if err := Mount(t.Context(), d.device, target, MountOptions{}); err != nil {
		t.Fatal(err)
	}
	f := hold()
	if err := Unmount(t.Context(), target, UnmountOptions{Lazy: true}); err != nil {
		t.Errorf("lazily: got %v", err)
	}
	if points, err := Mounts(d.number()); err != nil || points != nil {
		t.Errorf("got %+v, %v", points, err)
	}
	if err := Format(t.Context(), d.device, FormatOptions{Force: true}); !errors.Is(err, fault.Busy) {
		t.Errorf("format while a file is open: got %v, want an error", err)
	}
	f.Close()
}

func TestMountOptionsResolve(t *testing.T) {
	for _, c := range []struct {
		o     MountOptions
		flags uintptr
		data  string
	}{
		{MountOptions{Type: XFS}, 0, "nouuid"},
		{MountOptions{Type: XFS, Options: []string{"nouuid", "discard"}}, 0, "nouuid,discard"},
		{MountOptions{Type: XFS, ReadOnly: true, NoRecovery: true}, unix.MS_RDONLY, "nouuid,norecovery"},
		{MountOptions{Type: Ext4, ReadOnly: true, NoRecovery: true}, unix.MS_RDONLY, "noload"},
		{MountOptions{Type: Ext4, ReadOnly: true, Options: []string{"rw"}}, unix.MS_RDONLY, ""},
		{MountOptions{Type: Ext4}, 0, "noinit_itable"},
		{MountOptions{Type: Ext4, Options: []string{"init_itable=20"}}, 0, "init_itable=20"},
		{MountOptions{Type: Ext4, Options: []string{"ro,noatime,relatime"}}, unix.MS_RDONLY | unix.MS_RELATIME, ""},
		{MountOptions{Type: XFS, Options: []string{`context="u:r:t:s0:c1,c2",noatime`}}, unix.MS_NOATIME, `context="u:r:t:s0:c1,c2",nouuid`},
		{MountOptions{Type: Ext4, Options: []string{"nosuid,suid,defaults,noexec"}}, unix.MS_NOEXEC, "noinit_itable"},
	} {
		flags, data, err := c.o.resolve()
		if flags != c.flags || data != c.data || err != nil {
			t.Errorf("%+v: %#x, %q, %v", c.o, flags, data, err)
		}
	}
}
