package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/cli/exit"
	"thinctl/internal/metadatafile"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// onThisMachine runs one command line with the real devices of the machine.
func onThisMachine(ctx context.Context, t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	a, _ := testApp(t, &o, &e)
	a.Metadata = metadatafile.Local()
	code = run(ctx, a, args)
	return code, o.String(), e.String()
}

func attach(t *testing.T, path string, size units.Bytes) string {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(int64(size)), file.Close()); err != nil {
		t.Fatal(err)
	}
	loops := loopback.New(loopback.Options{})
	t.Cleanup(func() { loops.Close() })
	device, err := loops.Attach(t.Context(), path, loopback.AttachOptions{Autoclear: true})
	if err != nil {
		t.Fatal(err)
	}
	return device.Path
}

// TestRestoreToADevice checks that restore writes only to a device that is empty and not claimed,
// and leaves it empty after a failure.
func TestRestoreToADevice(t *testing.T) {
	need.Loops(t)
	dir := t.TempDir()
	meta, xml, backing := filepath.Join(dir, "meta"), filepath.Join(dir, "xml"), filepath.Join(dir, "backing")
	if err := metadatatest.WriteFile(meta); err != nil {
		t.Fatal(err)
	}
	device := attach(t, backing, 4*units.MiB)
	expect := func(want int, text string, args ...string) {
		t.Helper()
		code, out, errs := onThisMachine(t.Context(), t, args...)
		if code != want || !strings.Contains(out+errs, text) {
			t.Errorf("%v: exit code %d, want %d; %q is not in %s%s", args, code, want, text, out, errs)
		}
	}
	expect(0, "dumped", "metadata", "dump", meta, "-o", xml)

	claim, err := metadata.OpenOffline(device)
	if err != nil {
		t.Fatal(err)
	}
	for _, forced := range []string{"--force", "--force=false"} {
		expect(exit.CodeBusy, "is in use: choose another device", "metadata", "restore", xml, device, forced)
		expect(exit.CodeBusy, "in use by a loop device", "metadata", "restore", xml, backing, "--force")
	}
	claim.Close()

	expect(exit.CodeFailed, "needs 28 blocks (112K)", "metadata", "restore", xml, device, "--blocks", "27")
	expect(exit.CodeFailed, "has space for 1024 metadata blocks, 1025 are needed", "metadata", "restore", xml, device, "--blocks", "1025")
	expect(exit.CodeExists, "is a file with 4M in it", "metadata", "restore", xml, backing)
	expect(0, "Metadata Space:  112K / 4M", "metadata", "restore", xml, device)
	expect(0, "sound", "metadata", "check", device)
	expect(exit.CodeExists, "holds thin pool metadata: choose another device, or wipe it first", "metadata", "restore", xml, device)
	expect(exit.CodeExists, "holds thin pool metadata", "metadata", "repair", meta, "-o", device)
	expect(0, "112K / 2M", "metadata", "restore", xml, device, "--force", "--size", "2M")
	expect(0, "sound", "metadata", "check", device)
}

// TestRepairToADeviceTooSmall checks that a repair that fails leaves an empty device.
func TestRepairToADeviceTooSmall(t *testing.T) {
	need.Loops(t)
	dir := t.TempDir()
	meta := filepath.Join(dir, "meta")
	if err := metadatatest.WriteFile(meta); err != nil {
		t.Fatal(err)
	}
	device := attach(t, filepath.Join(dir, "backing"), 64*units.KiB)
	for range 2 {
		code, _, errs := onThisMachine(t.Context(), t, "metadata", "repair", meta, "-o", device)
		if code != exit.CodeFailed || !strings.Contains(errs, "use a larger device") {
			t.Errorf("exit code %d: %s", code, errs)
		}
	}
	device = attach(t, filepath.Join(dir, "larger"), units.MiB)
	if code, out, errs := onThisMachine(t.Context(), t, "metadata", "repair", meta, "-o", device); code != 0 || !strings.Contains(out, "nothing was lost") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
