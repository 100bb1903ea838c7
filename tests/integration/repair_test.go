//go:build kernel

package integration

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/remedy"
	"thinctl/thinpool"
	"thinctl/units"
)

const metadataBlock = 4096

// onMetadata changes a block of an inactive pool's metadata.
func onMetadata(t *testing.T, path string, block int64, change func(b []byte)) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b := make([]byte, metadataBlock)
	if _, err := file.ReadAt(b, block*metadataBlock); err != nil {
		t.Fatal(err)
	}
	change(b)
	if _, err := file.WriteAt(b, block*metadataBlock); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
}

func found(t *testing.T, pool *thinpool.Pool) []string {
	t.Helper()
	if err := pool.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	report, err := pool.Check(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, finding := range report.Findings {
		detail, next := remedy.Finding(finding)
		t.Logf("%s: %s: %s; %s", finding.Code, finding.Object, detail, next)
		if !slices.Contains(codes, finding.Code) {
			codes = append(codes, finding.Code)
		}
	}
	slices.Sort(codes)
	return codes
}

// written makes a pool with base, written and snapshot, and returns what must be read.
func written(t *testing.T) (*thinpool.Pool, *load) {
	t.Helper()
	pool := newPool(t, tiny())
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 64, 1), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Snapshot(testContext(t), "base", "copy", thinpool.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	return pool, base
}

func deactivate(t *testing.T, pool *thinpool.Pool) string {
	t.Helper()
	if err := pool.Deactivate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return statusOf(t, pool).Metadata.Path
}

// both reads base and its snapshot.
func both(t *testing.T, pool *thinpool.Pool, base *load) {
	t.Helper()
	loadOn(t, pool, "base")
	base.intact(t, 0)
	volume, err := pool.ActivateVolume(testContext(t), "copy")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(volume.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, want := make([]byte, 64*units.KiB), make([]byte, 64*units.KiB)
	for block, generation := range base.flushed {
		base.content(want, block, generation)
		if _, err := file.ReadAt(got, int64(block)*int64(64*units.KiB)); err != nil || string(got) != string(want) {
			t.Fatalf("block %d of the snapshot is not as it was: %v", block, err)
		}
	}
}

// A damaged block of the metadata's own space map is found. The metadata are rebuilt into a
// new file, the damaged file is kept, and the volumes do not change.
func TestDamagedMetadataIsRebuilt(t *testing.T) {
	pool, base := written(t)
	path := deactivate(t, pool)
	const bitmapRoot = 192 + 16 // of the metadata's space map (dm-thin-metadata.c)
	var index int64
	onMetadata(t, path, 0, func(b []byte) { index = int64(binary.LittleEndian.Uint64(b[bitmapRoot:])) })
	onMetadata(t, path, index, func(b []byte) {
		for i := range b {
			b[i] ^= 0x5a
		}
	})
	damaged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := found(t, pool); !slices.Equal(got, []string{thinpool.FindMetadata}) {
		t.Errorf("found %q", got)
	}
	repair, err := pool.Repair(testContext(t), thinpool.RepairOptions{})
	if err != nil || len(repair.Left) > 0 {
		t.Fatalf("%+v, %v", repair, err)
	}
	t.Logf("%q", repair.Actions)
	if kept, err := os.ReadFile(repair.Damaged); err != nil || string(kept) != string(damaged) {
		t.Errorf("damaged copy %q: got %v, %d bytes", repair.Damaged, err, len(kept))
	}
	thinCheck(t, path)
	if got := found(t, pool); len(got) > 0 {
		t.Errorf("after the repair: %q", got)
	}
	if err := pool.Activate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	both(t, pool, base)
	if _, err := pool.Snapshot(testContext(t), "copy", "late", thinpool.SnapshotOptions{}); err != nil {
		t.Error(err)
	}
	noFindings(t, pool)
}

// onDevices makes an inactive pool on two block devices, with base and other written. A
// node of the metadata is damaged: the root of other's mappings.
func onDevices(t *testing.T) (pool *thinpool.Pool, meta string, damaged []byte, base *load) {
	t.Helper()
	data, device := blockDevice(t, 256*units.MiB), blockDevice(t, 8*units.MiB)
	meta = device.Path
	pool = newPool(t, thinpool.CreateOptions{DataDevice: data.Path, MetadataDevice: meta, BaseSize: 256 * units.MiB})
	base = newLoad(t, pool, "base")
	for _, l := range []*load{base, newLoad(t, pool, "other")} {
		if err := l.fill(span(0, 64, 1), 1); err != nil {
			t.Fatal(err)
		}
	}
	volume, err := pool.VolumeStatus(testContext(t), "other")
	if err != nil {
		t.Fatal(err)
	}
	deactivate(t, pool)
	onMetadata(t, meta, rootOf(t, meta, volume.ID), func(b []byte) { b[100] ^= 1 })
	if damaged, err = os.ReadFile(meta); err != nil {
		t.Fatal(err)
	}
	return pool, meta, damaged, base
}

// rebuiltOnDevice compares the pool of onDevices after its repair.
func rebuiltOnDevice(t *testing.T, pool *thinpool.Pool, meta string, damaged []byte, base *load) {
	t.Helper()
	kept, err := filepath.Glob(filepath.Join(pool.Dir(), "metadata*"))
	if err != nil || len(kept) != 1 || !strings.Contains(kept[0], "metadata.damaged-") {
		t.Fatalf("files in the pool's directory: got %q, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || string(b) != string(damaged) {
		t.Errorf("damaged copy: got %v, %d bytes", err, len(b))
	}
	thinCheck(t, meta)
	if err := pool.Activate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	loadOn(t, pool, "base")
	base.intact(t, 0)
	remove(t, pool, "other")
	if _, err := pool.Snapshot(testContext(t), "base", "late", thinpool.SnapshotOptions{}); err != nil {
		t.Error(err)
	}
	noFindings(t, pool)
}

// A node of the mappings is damaged in a pool on block devices. The repair first keeps a
// whole copy of the metadata device, then writes over it all that could be read. Mappings
// that the node does not lead to do not change.
func TestDamagedMetadataDeviceIsRebuilt(t *testing.T) {
	pool, meta, damaged, base := onDevices(t)
	if got := found(t, pool); !slices.Contains(got, thinpool.FindMetadata) {
		t.Errorf("found %q", got)
	}
	plan, err := pool.Repair(testContext(t), thinpool.RepairOptions{DryRun: true})
	if err != nil || len(plan.Actions) != 1 || !strings.Contains(plan.Actions[0], meta) {
		t.Errorf("dry run: got %+v, %v", plan, err)
	}
	if now, err := os.ReadFile(meta); err != nil || string(now) != string(damaged) {
		t.Errorf("the dry run wrote: %v", err)
	}
	repair, err := pool.Repair(testContext(t), thinpool.RepairOptions{})
	t.Logf("%+v, %v", repair, err)
	if err != nil || len(repair.Actions) != 1 || repair.Damaged == "" {
		t.Fatal("nothing was repaired")
	}
	if len(repair.Lost) != 1 || !strings.Contains(repair.Lost[0].Volume, "other") {
		t.Errorf("lost: got %+v", repair.Lost)
	}
	rebuiltOnDevice(t, pool, meta, damaged, base)
}

// halfway writes half of what is to be copied to a device, and fails.
type halfway struct {
	thinpool.Disks
	onto string
}

var errHalfway = errors.New("half is written")

func (d halfway) CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error {
	if to != d.onto {
		return d.Disks.CopyMetadata(ctx, from, to, size)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	device, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = device.WriteAt(b[metadataBlock:size/2], metadataBlock)
	return errors.Join(errHalfway, err, device.Sync(), device.Close())
}

// A pool is not started on a device that is half written; the next repair writes the rest.
func TestHalfWrittenMetadataDevice(t *testing.T) {
	pool, meta, damaged, base := onDevices(t)
	ctx, host := testContext(t), realHost(t)
	host.Disks = halfway{host.Disks, meta}
	killed, err := thinpool.Open(ctx, host, filepath.Dir(pool.Dir()), pool.Name())
	if err != nil {
		t.Fatal(err)
	}
	_, err = killed.Repair(ctx, thinpool.RepairOptions{})
	t.Logf("halfway: %v", err)
	if err := killed.Close(ctx); err != nil {
		t.Error(err)
	}
	if !errors.Is(err, errHalfway) {
		t.Errorf("repaired: %v", err)
	}
	if err := pool.Activate(ctx); !errors.Is(err, fault.Unhealthy) {
		t.Errorf("activated: %v", err)
	}
	repair, err := pool.Repair(ctx, thinpool.RepairOptions{})
	t.Logf("%+v, %v", repair, err)
	if err != nil || repair.Damaged == "" {
		t.Fatal("the repair has not ended, or has no damaged copy")
	}
	rebuiltOnDevice(t, pool, meta, damaged, base)
}

// rootOf returns the block of the root of a thin device's own mappings.
func rootOf(t *testing.T, path string, id uint32) int64 {
	t.Helper()
	// Offsets in the superblock (dm-thin-metadata.c) and in a node's header, which all keys
	// and then all values follow (persistent-data/dm-btree-internal.h).
	const mappingRoot, entries, maxEntries, keys = 320, 16, 20, 32
	var top, root int64
	onMetadata(t, path, 0, func(b []byte) { top = int64(binary.LittleEndian.Uint64(b[mappingRoot:])) })
	onMetadata(t, path, top, func(b []byte) {
		values := keys + 8*int(binary.LittleEndian.Uint32(b[maxEntries:]))
		for i := range int(binary.LittleEndian.Uint32(b[entries:])) {
			if binary.LittleEndian.Uint64(b[keys+8*i:]) == uint64(id) {
				root = int64(binary.LittleEndian.Uint64(b[values+8*i:]))
			}
		}
	})
	if root == 0 {
		t.Fatalf("device %d has no mappings in block %d", id, top)
	}
	return root
}

func TestNeedsCheckIsCleared(t *testing.T) {
	pool, base := written(t)
	path := deactivate(t, pool)
	onMetadata(t, path, 0, func(b []byte) {
		b[4] |= 1
		sum := ^crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)) ^ 160774
		binary.LittleEndian.PutUint32(b, sum)
	})
	if err := pool.Activate(testContext(t)); !errors.Is(err, thinpool.ErrNeedsCheck) {
		t.Errorf("activated: %v", err)
	}
	if got := found(t, pool); !slices.Equal(got, []string{thinpool.FindNeedsCheck}) {
		t.Errorf("found %q", got)
	}
	if repair, err := pool.Repair(testContext(t), thinpool.RepairOptions{}); err != nil || len(repair.Actions) != 1 ||
		repair.Damaged != "" {
		t.Errorf("%+v, %v", repair, err)
	}
	if err := pool.Activate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	both(t, pool, base)
}

// The metadata device fails under load. The state is reported, and flushed data are there
// once the device works again.
func TestMetadataDeviceFails(t *testing.T) {
	disk := blockDevice(t, 8*units.MiB)
	meta := newLinear(t, "it-meta", disk, 8*units.MiB)
	options := tiny()
	options.MetadataSize, options.MetadataDevice = 0, meta.name.Node()
	pool := newPool(t, options)
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 64, 1), 1); err != nil {
		t.Fatal(err)
	}
	swap := func(table string) {
		run(t, "dmsetup", "load", string(meta.name), "--table", table)
		run(t, "dmsetup", "suspend", "--noflush", "--nolockfs", string(meta.name))
		run(t, "dmsetup", "resume", string(meta.name))
	}
	sound := strings.TrimSpace(run(t, "dmsetup", "table", string(meta.name)))
	swap("0 16384 error")
	if err := base.fill(span(64, 128, 1), 1); err == nil {
		t.Error("flushed with metadata that cannot be written")
	}
	await(t, "no longer writing", func() bool { return statusOf(t, pool).Kernel.Mode >= dm.ModeReadOnly })
	s := statusOf(t, pool)
	t.Logf("mode %s, needs_check %v", s.Kernel.Mode, s.Kernel.NeedsCheck)
	if _, err := pool.CreateVolume(testContext(t), "refused", thinpool.VolumeOptions{}); !errors.Is(err, thinpool.ErrNeedsCheck) &&
		!errors.Is(err, fault.Unhealthy) {
		t.Errorf("created: %v", err)
	}
	swap(sound)
	deactivate(t, pool)
	if got := found(t, pool); len(got) > 0 {
		repairOfflineFindings(t, pool)
	}
	if err := pool.Activate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	loadOn(t, pool, "base")
	base.intact(t, 0)
	noFindings(t, pool)
}

func repairOfflineFindings(t *testing.T, pool *thinpool.Pool) {
	t.Helper()
	repair, err := pool.Repair(testContext(t), thinpool.RepairOptions{})
	if err != nil || len(repair.Left) > 0 {
		t.Fatalf("%+v, %v", repair, err)
	}
	t.Logf("%q", repair.Actions)
}

// Changes that other programs made to the pool are read from real metadata.
func TestForeignChangesAreFound(t *testing.T) {
	pool, base := written(t)
	device := string(statusOf(t, pool).Device)
	message := func(text string) { run(t, "dmsetup", "message", device, "0", text) }
	if _, err := pool.CreateVolume(testContext(t), "lost", thinpool.VolumeOptions{}); err != nil {
		t.Fatal(err)
	}
	message("create_snap 900 2") // of copy, which is not active
	message("delete 3")
	if got := found(t, pool); !slices.Equal(got, []string{thinpool.FindMissing, thinpool.FindOrphan}) {
		t.Errorf("found %q", got)
	}
	repair, err := pool.Repair(testContext(t), thinpool.RepairOptions{})
	if err != nil || len(repair.Left) != 0 || len(repair.Lost) != 1 || repair.Lost[0].Volume != "lost" {
		t.Errorf("repair: got %+v, %v; want lost dropped and nothing left", repair, err)
	}
	adopted, err := pool.VolumeStatus(testContext(t), "recovered-900")
	if err != nil || adopted.ID != 900 || adopted.Size != 64*units.MiB {
		t.Errorf("%+v, %v", adopted, err)
	}
	both(t, pool, base)

	message("reserve_metadata_snap")
	if got := found(t, pool); !slices.Equal(got, []string{thinpool.FindHeldRoot}) {
		t.Errorf("found %q", got)
	}
	if _, err := pool.Repair(testContext(t), thinpool.RepairOptions{}); err != nil {
		t.Error(err)
	}
	if statusOf(t, pool).Kernel.HeldRoot == 0 {
		t.Error("another program's metadata snapshot was released")
	}
	message("release_metadata_snap")
	noFindings(t, pool)
}
