//go:build systemd

package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/tests/programs"
)

// left counts the objects that tests may leave, by kind, after containerd's garbage
// collection.
func (f *fixture) left(t *testing.T) map[string]int64 {
	t.Helper()
	count := map[string]int64{}
	// Removing a lease makes containerd collect its garbage at once.
	f.do(t, "leases", "create", "--id", "collect")
	f.do(t, "leases", "delete", "--sync", "collect")
	// Blocks are freed in the background.
	until(t, "check without findings", time.Minute, f.checked)
	lines := func(name, program string, args ...string) {
		out, err := programs.Run(f.ctx, program, args...)
		check(t, err)
		for line := range strings.Lines(out) {
			if strings.Contains(line, "thinctl") || strings.Contains(line, f.dir) {
				count[name]++
			}
		}
	}
	lines("devices", "dmsetup", "ls")
	lines("mounts", "cat", "/proc/self/mounts")
	lines("loops", "losetup", "--list", "--noheadings")
	lines("udev", "udevadm", "settle", "--timeout=60") // its links are removed later
	for _, dir := range []string{"/dev/mapper", "/dev/thinctl"} {
		nodes, err := os.ReadDir(dir)
		if !errors.Is(err, fs.ErrNotExist) { // the first node makes it
			check(t, err)
		}
		count["nodes"] += int64(len(nodes))
	}
	var usage struct {
		Used     int64 `json:"used_bytes"`
		Metadata int64 `json:"metadata_tree_bytes"`
		Volumes  []struct {
			Volume  string `json:"volume"`
			Removed bool   `json:"removed"`
		} `json:"volumes"`
	}
	check(t, f.pool.JSON(f.ctx, &usage, "pool", "usage", f.pool.Pool))
	count["ids"], count["bytes"], count["metadata"] = int64(len(usage.Volumes)), usage.Used, usage.Metadata
	for _, v := range usage.Volumes {
		if v.Volume == "" || v.Removed {
			count["ids without a volume"]++
		}
		// An empty file system stays for the next image.
		if strings.HasPrefix(v.Volume, "template-") {
			count["ids"]--
		}
	}
	return count
}

// checked returns nil if `thinctl pool check` finds nothing.
func (f *fixture) checked() error {
	var report struct {
		Pools []struct {
			Findings []json.RawMessage `json:"findings"`
		} `json:"pools"`
	}
	if err := f.pool.JSON(f.ctx, &report, "pool", "check", f.pool.Pool); err != nil {
		return err
	}
	var found []error
	for _, pool := range report.Pools {
		for _, finding := range pool.Findings {
			found = append(found, fmt.Errorf("check: got %s", finding))
		}
	}
	if len(report.Pools) != 1 {
		found = append(found, fmt.Errorf("got %d pools checked", len(report.Pools)))
	}
	return errors.Join(found...)
}

// asBefore compares the counts with earlier ones. All must be the same, but for these
// kinds.
func (f *fixture) asBefore(t *testing.T, before map[string]int64, but ...string) {
	t.Helper()
	after := f.left(t)
	for _, what := range slices.Sorted(maps.Keys(after)) {
		t.Logf("%s: %d, %d at first", what, after[what], before[what])
		if after[what] != before[what] && !slices.Contains(but, what) {
			t.Errorf("%s: want %d as at first, got %d", what, before[what], after[what])
		}
	}
}
