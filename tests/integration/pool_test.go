//go:build kernel

package integration

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/units"
)

func TestLifeOfAPool(t *testing.T) {
	ctx := testContext(t)
	pool := newPool(t, small())

	status, err := pool.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// dmsetup reports the same of the pool as package thinpool.
	table := strings.TrimSpace(run(t, "dmsetup", "table", string(status.Device)))
	parsed, err := dm.ParseThinPool(lineOf(t, table))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Line().String() != table {
		t.Errorf("table: got %q, want dmsetup's %q", parsed.Line(), table)
	}
	if parsed.Length.Bytes() != status.Data.Total || parsed.Block.Bytes() != status.Record.Block {
		t.Errorf("table: got %q, want the record's sizes %+v", table, status.Record)
	}

	base, err := pool.CreateVolume(ctx, "base", thinpool.VolumeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if base, err = pool.ActivateVolume(ctx, "base"); err != nil {
		t.Fatal(err)
	}
	content := write(t, base.Node, 0, 4*units.MiB)
	if _, err := pool.Snapshot(ctx, "base", "copy", thinpool.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	write(t, base.Node, 0, units.MiB)
	twin, err := pool.ActivateVolume(ctx, "copy")
	if err != nil {
		t.Fatal(err)
	}
	if got := digest(t, twin.Node, 0, 4*units.MiB); got != content {
		t.Error("the snapshot changed with its origin")
	}
	// 4 MiB shared, 1 MiB rewritten in the origin.
	if status, err = pool.Status(ctx); err != nil {
		t.Fatal(err)
	}
	if want := 5 * units.MiB; status.Data.Used != want {
		t.Errorf("data used %s, want %s", status.Data.Used, want)
	}
	one, err := pool.VolumeStatus(ctx, "copy")
	if err != nil {
		t.Fatal(err)
	}
	if one.Mapped != 4*units.MiB {
		t.Errorf("the snapshot maps %s, want 4M", one.Mapped)
	}

	extension, err := pool.Extend(ctx, thinpool.ExtendOptions{Data: 512 * units.MiB, Metadata: 16 * units.MiB})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the pool was suspended for %s", extension.Suspended)
	if status, err = pool.Status(ctx); err != nil {
		t.Fatal(err)
	}
	if status.Data.Total != 512*units.MiB || status.Kernel.TotalData != 8192 {
		t.Errorf("after the extension: got %+v", status.Data)
	}
	if got := digest(t, twin.Node, 0, 4*units.MiB); got != content {
		t.Error("the snapshot changed with the extension")
	}

	if err := pool.DeactivateVolume(ctx, "copy"); err != nil {
		t.Fatal(err)
	}
	if err := pool.DeactivateVolume(ctx, "base"); err != nil {
		t.Fatal(err)
	}
	if err := pool.Deactivate(ctx); err != nil {
		t.Fatal(err)
	}
	thinCheck(t, status.Metadata.Path)
	if err := pool.Activate(ctx); err != nil {
		t.Fatal(err)
	}
	if twin, err = pool.ActivateVolume(ctx, "copy"); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, twin.Node, 0, 4*units.MiB); got != content {
		t.Error("the snapshot changed over a restart")
	}

	report, err := pool.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 0 {
		t.Errorf("sound pool: got findings %+v, want none", report.Findings)
	}
	before, err := pool.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"base", "copy"} {
		removal, err := pool.RemoveVolume(ctx, name, thinpool.RemoveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !removal.Reaped {
			t.Errorf("%s was not reaped", name)
		}
	}
	after, err := pool.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after.Data.Used != 0 || after.Volumes != 0 {
		t.Errorf("after all were removed: got %s used, %d volumes, want none", after.Data.Used, after.Volumes)
	}
	if after.Data.File.Allocated >= before.Data.File.Allocated {
		t.Errorf("the host's space was not freed: %s before, %s after", before.Data.File.Allocated, after.Data.File.Allocated)
	}
}

// write fills a range with random bytes and returns its digest.
func write(t *testing.T, node string, offset, length units.Bytes) [32]byte {
	t.Helper()
	content := make([]byte, length)
	source := rand.NewChaCha8([32]byte(binary.NativeEndian.AppendUint64(make([]byte, 24), rand.Uint64())))
	source.Read(content)
	file, err := os.OpenFile(node, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(content, int64(offset)); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

func digest(t *testing.T, node string, offset, length units.Bytes) [32]byte {
	t.Helper()
	file, err := os.Open(node)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content := make([]byte, length)
	if _, err := file.ReadAt(content, int64(offset)); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

// lineOf reads a line of `dmsetup table` or `dmsetup status`.
func lineOf(t *testing.T, text string) dm.Line {
	t.Helper()
	fields := strings.SplitN(text, " ", 4)
	if len(fields) < 3 {
		t.Fatalf("dmsetup: got %q, want one line", text)
	}
	var line dm.Line
	start, err := units.Parse(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	length, err := units.Parse(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	line.Start, line.Length, line.Type = units.Sectors(start), units.Sectors(length), fields[2]
	if len(fields) == 4 {
		line.Params = fields[3]
	}
	return line
}
