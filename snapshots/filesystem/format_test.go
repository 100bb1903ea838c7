package filesystem

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/internal/testkit/need"
	"thinctl/units"
)

func TestFormatAndDetect(t *testing.T) {
	want, err := ParseUUID("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
	if err != nil {
		t.Fatal(err)
	}
	eachType(t, func(t *testing.T, kind Type, size units.Bytes) {
		d := newDisk(t, size)
		if got, id, err := Detect(d.device); got != "" || !id.IsZero() || err != nil {
			t.Errorf("an empty device: got %q, %v, %v", got, id, err)
		}
		d.format(FormatOptions{Type: kind, UUID: want, Label: "thin-label"})
		if got, id, err := Detect(d.device); got != kind || id != want || err != nil {
			t.Errorf("got %q, %v, %v", got, id, err)
		}
		target := d.mount(MountOptions{})
		if err := Format(t.Context(), d.device, FormatOptions{Type: kind, Force: true}); !errors.Is(err, fault.Busy) {
			t.Errorf("formatting a mounted device by force: got %v", err)
		}
		write(t, filepath.Join(target, "file"), 1000)
	})
}

func TestFormatRefusesWhatHoldsSomething(t *testing.T) {
	d := newDisk(t, 320*units.MiB)
	for _, step := range []struct{ next, other Type }{{XFS, Ext4}, {Ext4, XFS}, {XFS, XFS}, {XFS, Ext4}} {
		d.format(FormatOptions{Type: step.next, Force: true})
		_, before, err := Detect(d.device)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []Type{step.next, step.other, ""} {
			err := Format(t.Context(), d.device, FormatOptions{Type: kind})
			if !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), string(step.next)) {
				t.Errorf("%q over %s: %v", kind, step.next, err)
			}
		}
		if kind, after, err := Detect(d.device); kind != step.next || after != before || err != nil {
			t.Errorf("after the refusals: got %q, %v, %v", kind, after, err)
		}
	}
}

func TestFormatDefaults(t *testing.T) {
	need.Program(t, "mkfs.xfs")
	none := programs{dirs: []string{t.TempDir()}}
	for _, c := range []struct {
		p    programs
		size units.Bytes
		want Type
	}{
		{programs{}, 300 * units.MiB, XFS}, {programs{}, 300*units.MiB - 1, Ext4}, {none, units.TiB, Ext4},
	} {
		if got := c.p.defaultType(c.size); got != c.want {
			t.Errorf("%v in %v: %s, want %s", c.size, c.p.dirs, got, c.want)
		}
	}
	for size, want := range map[units.Bytes]Type{300 * units.MiB: XFS, 64 * units.MiB: Ext4} {
		d := newDisk(t, size).format(FormatOptions{})
		if got, _, err := Detect(d.device); got != want || err != nil {
			t.Errorf("%v: %q, %v", size, got, err)
		}
	}
}

func TestFormatIsSparse(t *testing.T) {
	for kind, most := range map[Type]units.Bytes{Ext4: 8 * units.MiB, XFS: 80 * units.MiB} {
		d := newDisk(t, 10*units.GiB).format(FormatOptions{Type: kind})
		if got := allocated(t, d.file); got > most {
			t.Errorf("%s of 10G: got %v allocated", kind, got)
		} else {
			t.Logf("%s of 10G takes %v", kind, got)
		}
	}
}

func TestFormatFailures(t *testing.T) {
	d := newDisk(t, 64*units.MiB)
	ctx := t.Context()
	err := Format(ctx, d.device, FormatOptions{Type: XFS})
	if err == nil || !strings.Contains(err.Error(), "mkfs.xfs failed") || !strings.Contains(err.Error(), "300MB") {
		t.Errorf("xfs too small: got %v", err)
	}
	if err := Format(ctx, d.device, FormatOptions{Type: Ext4, Args: []string{"-O", "no-such-thing"}}); err == nil || !strings.Contains(err.Error(), "no-such-thing") {
		t.Errorf("a bad argument: got %v", err)
	}
	err = Format(ctx, d.device, FormatOptions{Type: "btrfs", Label: "- a label far too long"})
	if !errors.Is(err, fault.Invalid) || strings.Count(err.Error(), ";") != 2 {
		t.Errorf("three faults: got %v", err)
	}
	for _, path := range []string{"relative", "/dev/../dev/loop0", d.file, "/dev/null", "/"} {
		if err := Format(ctx, path, FormatOptions{}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Format(ctx, "/dev/none", FormatOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing device: got %v", err)
	}
	none := programs{dirs: []string{t.TempDir()}}
	if err := none.format(ctx, d.device, FormatOptions{Type: XFS}); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "xfsprogs") {
		t.Errorf("no mkfs: got %v", err)
	}
	if kind, _, err := Detect(d.device); kind != "" || err != nil {
		t.Errorf("after the errors: got %q, %v, want no file system", kind, err)
	}
}

func TestFormatEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mkfs.ext4"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := programs{dirs: []string{dir}}.format(ctx, newDisk(t, units.MiB).device, FormatOptions{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestFormatRefusesSignatures uses one signature at the start and one at the end of the
// device. Package disk tests all of them.
func TestFormatRefusesSignatures(t *testing.T) {
	d := newDisk(t, units.MiB)
	for at, magic := range map[int64]string{512: "LABELONE", int64(units.MiB) - 512: "EFI PART"} {
		if _, err := d.open.WriteAt([]byte(magic), at); err != nil {
			t.Fatal(err)
		}
		if err := Format(t.Context(), d.device, FormatOptions{}); !errors.Is(err, ErrSignature) {
			t.Errorf("%s at byte %d: got %v, want %v", magic, at, err, ErrSignature)
		}
		if _, err := d.open.WriteAt(make([]byte, len(magic)), at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseUUID(t *testing.T) {
	for _, bad := range []string{"", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1", "zf1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"} {
		if _, err := ParseUUID(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if u, err := ParseUUID("0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0"); err != nil || u[0] != 0x0f {
		t.Errorf("got %v, %v", u, err)
	}
}
