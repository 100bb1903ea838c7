//go:build absent

package integration

import (
	"errors"
	"os"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/remedy"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

// In guests that lack a part of the kernel:
//
//	THINCTL_ABSENT=thin go test -tags absent -exec "$PWD/tests/lab/run --without dm-thin-pool --" ./tests/integration
//	THINCTL_ABSENT=dm go test -tags absent -exec "$PWD/tests/lab/run --without dm-mod --" ./tests/integration
func TestAbsent(t *testing.T) {
	kernel, err := dm.Open(dm.Options{})
	switch os.Getenv("THINCTL_ABSENT") {
	case "dm":
		if !errors.Is(err, dm.ErrNoDeviceMapper) || !strings.Contains(err.Error(), "modprobe dm_mod") {
			t.Errorf("without device mapper: %v", err)
		}
	case "thin":
		if err != nil {
			t.Fatal(err)
		}
		defer kernel.Close()
		root := t.TempDir()
		host := thinpool.Host{Kernel: kernel, Loops: loopback.New(loopback.Options{}), Disks: thinpool.LocalDisks{}}
		_, err := thinpool.Create(t.Context(), host, root, "itabsent",
			thinpool.CreateOptions{DataSize: 64 * units.MiB, MetadataSize: 4 * units.MiB})
		if !errors.Is(err, fault.Unsupported) || !errors.Is(err, dm.ErrNoTarget) ||
			!strings.Contains(remedy.Text(err), "modprobe dm_thin_pool") {
			t.Errorf("without the thin target: %v", err)
		}
		entries, err := os.ReadDir(root)
		if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != ".lock" {
			t.Errorf("left behind: %v, %v", entries, err)
		}
		if devices, err := kernel.List(t.Context()); err != nil || len(devices) > 0 {
			t.Errorf("left behind: %v, %v", devices, err)
		}
	default:
		t.Fatal("THINCTL_ABSENT must be thin or dm: what the guest lacks")
	}
}
