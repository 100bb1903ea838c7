//go:build kernel

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// The kernel goes on with metadata that it did not write: it grows the data device inside a
// bitmap, fills it to the last block, breaks sharing, discards and deletes. Both checks
// call the result sound.
func TestKernelTakesBuiltMetadata(t *testing.T) {
	t.Setenv("DM_DISABLE_UDEV", "1")
	const blocks, more = 9000, 300
	p := metadatatest.New(1)
	p.Load(1, 6000, 10, 84)
	for id := uint32(2); id < 40; id++ {
		p.Snapshot(id, 1)
		p.Write(id, uint64(id)*50, 3)
	}
	p.Hold()
	p.Delete(39)
	free := blocks + more - int(p.Live().Used()) // without the held root's own blocks
	meta := filepath.Join(t.TempDir(), "meta")
	save(t, p, meta, metadatatest.SaveOptions{Shuffle: true, DataBlocks: blocks, MetadataBlocks: 4096})

	t.Run("in use", func(t *testing.T) { // its clean-up closes the pool
		pool := onPool(t, meta, blocks+more)
		pool("release_metadata_snap")
		pool("create_snap 100 1")
		pool("create_thin 101")
		write := func(id, first, n int) {
			name := fmt.Sprintf("built-%d", id)
			create(t, name, fmt.Sprintf("0 %d thin /dev/mapper/built %d", 20000*128, id))
			run(t, "dd", "if=/dev/zero", "of=/dev/mapper/"+name, "bs=64k", fmt.Sprintf("seek=%d", first),
				fmt.Sprintf("count=%d", n), "oflag=direct", "conv=notrunc")
		}
		pool("reserve_metadata_snap")
		write(2, 0, 200)
		write(100, 1000, 200)
		run(t, "blkdiscard", "--offset", "0", "--length", fmt.Sprint(500<<16), "/dev/mapper/built-100")
		for id := 10; id < 20; id++ {
			pool(fmt.Sprintf("delete %d", id))
		}
		pool("release_metadata_snap")
		write(101, 0, free-500) // beyond the blocks that the bitmap counted before it grew
	})

	thinCheck(t, meta)
	m, err := metadata.Open(meta)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	report, err := metadata.Check(context.Background(), m, metadata.CheckOptions{})
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("check: got %+v, %v", report, err)
	}
}

func save(t *testing.T, p *metadatatest.Pool, path string, o metadatatest.SaveOptions) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Save(f, o)
	if err := errors.Join(err, f.Truncate(int64(o.MetadataBlocks)*metadataBlock), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// onPool activates a pool on metadata with an empty data device of so many blocks, and
// returns a function that sends it messages.
func onPool(t *testing.T, meta string, blocks int) func(message string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.WriteFile(data, nil, 0o600), os.Truncate(data, int64(blocks)<<16)); err != nil {
		t.Fatal(err)
	}
	attach := func(path string) string {
		device := strings.TrimSpace(run(t, "losetup", "--find", "--show", path))
		t.Cleanup(func() { run(t, "losetup", "--detach", device) })
		return device
	}
	create(t, "built", fmt.Sprintf("0 %d thin-pool %s %s 128 0 1 error_if_no_space", blocks*128, attach(meta),
		attach(data)))
	return func(message string) {
		t.Helper()
		run(t, "dmsetup", "message", "built", "0", message)
	}
}

func create(t *testing.T, name, table string) {
	t.Helper()
	run(t, "dmsetup", "create", name, "--table", table)
	t.Cleanup(func() { run(t, "dmsetup", "remove", "--retry", name) })
}
