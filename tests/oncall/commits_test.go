//go:build systemd

package oncall

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// commits are the counters that a commit of a pool's metadata increases. It ends with a
// flush and a write of the superblock, even if no byte of that has changed.
type commits struct {
	Writes, Flushes string // requests to the metadata's device
	Superblock      [sha256.Size]byte
}

// testCommits requires that a pool that no process writes to does not change on disk,
// however often it is scraped, sampled and printed.
func testCommits(t *testing.T) {
	thinctl(t, "volume create idle some --fs ext4 --size 32M")
	thinctl(t, "volume mount idle some")
	run(t, "sync")
	device := metadataDevice(t, "idle")
	quiet(t, device)
	before := seeCommits(t, device)
	for range 100 {
		text, err := get(t.Context(), exporter+"/metrics")
		if err != nil || !bytes.Contains(text, []byte(`thinctl_pool_data_used_bytes{pool="idle"}`)) {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	for range 10 {
		if out := thinctl(t, "metrics"); !strings.Contains(out, `thinctl_pool_data_used_bytes{pool="idle"}`) {
			t.Fatal(out)
		}
	}
	after := seeCommits(t, device)
	t.Logf("after 100 scrapes and 10 times `thinctl metrics`: %s writes and %s flushes, were %s and %s",
		after.Writes, after.Flushes, before.Writes, before.Flushes)
	if after != before {
		t.Error("the kernel has committed, want no commit")
	}

	// This shows that the counters would change: a status without DM_NOFLUSH commits.
	run(t, "dmsetup", "status", "thinctl-idle")
	asked := seeCommits(t, device)
	t.Logf("after one `dmsetup status`: %s writes and %s flushes; the superblock is another: %v", asked.Writes,
		asked.Flushes, asked.Superblock != after.Superblock)
	if asked.Writes == after.Writes || asked.Flushes == after.Flushes {
		t.Error("the counters do not show a commit")
	}
	run(t, "dmsetup", "status", "--noflush", "thinctl-idle")
	if seeCommits(t, device) != asked {
		t.Error("a status with DM_NOFLUSH commits")
	}
	run(t, "fallocate", "--length", "1M", filepath.Join(pools, "idle/mnt/some/file"))
	run(t, "dd", "if=/dev/zero", "of="+filepath.Join(pools, "idle/mnt/some/file"), "bs=1M", "count=1",
		"conv=fsync,notrunc")
	if seeCommits(t, device).Superblock == asked.Superblock {
		t.Error("new blocks were flushed and the superblock is the same")
	}
}

// metadataDevice returns the loop device of a pool's metadata.
func metadataDevice(t *testing.T, pool string) string {
	t.Helper()
	out := strings.TrimSpace(run(t, "losetup", "--noheadings", "--output", "NAME", "--associated",
		filepath.Join(pools, pool, "metadata")))
	if !strings.HasPrefix(out, "/dev/loop") {
		t.Fatalf("metadata device of %s: got %q", pool, out)
	}
	return out
}

// quiet waits until earlier writes are committed, and until ext4 has done its delayed work.
func quiet(t *testing.T, device string) {
	t.Helper()
	last, same := commits{}, 0
	await(t, "an idle pool", 3*time.Minute, func() bool {
		is := seeCommits(t, device)
		if same++; is != last {
			last, same = is, 0
		}
		return same == 12 // twelve seconds, which is longer than a journal waits
	})
}

func seeCommits(t *testing.T, device string) commits {
	t.Helper()
	// Documentation/block/stat.rst: the fifth is writes, the sixteenth flushes.
	fields := strings.Fields(read(t, filepath.Join("/sys/block", filepath.Base(device), "stat")))
	if len(fields) < 16 {
		t.Fatalf("%s: got %d counters", device, len(fields))
	}
	file, err := os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.ReadAt(block, 0)
	c := commits{Writes: fields[4], Flushes: fields[15], Superblock: sha256.Sum256(block)}
	if err := errors.Join(err, unix.Munmap(block)); err != nil {
		t.Fatal(err)
	}
	return c
}
