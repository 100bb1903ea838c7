package thinpool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// creating creates the pool new with options that change has made invalid.
func creating(change func(f *fixture, o *thinpool.CreateOptions)) func(context.Context, *fixture) error {
	return creatingAs("new", change)
}

func creatingAs(name string, change func(f *fixture, o *thinpool.CreateOptions)) func(context.Context, *fixture) error {
	return func(ctx context.Context, f *fixture) error {
		options := thinpooltest.SmallPool()
		if change != nil {
			change(f, &options)
		}
		_, err := thinpool.Create(ctx, f.host, f.Root, name, options)
		return err
	}
}

func badOptions() []badInput {
	var bad []badInput
	for _, name := range []string{"", "-x", ".hidden", "..", "a/b", "a b", "größe", "tab\t", strings.Repeat("n", 33)} {
		bad = append(bad, badInput{name: "pool name " + name, try: creatingAs(name, nil), kind: fault.Invalid, texts: []string{"name pool"}})
	}
	option := func(name string, change func(f *fixture, o *thinpool.CreateOptions), texts ...string) {
		bad = append(bad, badInput{name: name, try: creating(change), texts: texts})
	}
	option("data not whole blocks", func(_ *fixture, o *thinpool.CreateOptions) { o.DataSize += 512 }, "multiple of the block size", "use 65600K")
	option("data below a block", func(_ *fixture, o *thinpool.CreateOptions) { o.DataSize = 4096 }, "smaller than one block")
	option("block too small", func(_ *fixture, o *thinpool.CreateOptions) { o.Block = 32 * units.KiB }, "block size 32K", "from 64K to 1G")
	option("block too large", func(_ *fixture, o *thinpool.CreateOptions) { o.Block = 2 * units.GiB }, "block size 2G")
	option("block uneven", func(_ *fixture, o *thinpool.CreateOptions) { o.Block = 100 * units.KiB }, "multiple of 64K")
	option("metadata too small", func(_ *fixture, o *thinpool.CreateOptions) { o.MetadataSize = units.MiB }, "metadata size 1M", "minimum of 2M")
	option("metadata too large", func(_ *fixture, o *thinpool.CreateOptions) { o.MetadataSize = 16 * units.GiB }, "metadata size 16G", "use 16192M")
	option("metadata uneven", func(_ *fixture, o *thinpool.CreateOptions) { o.MetadataSize += 512 }, "multiple of 4K")
	option("base size", func(_ *fixture, o *thinpool.CreateOptions) { o.BaseSize = units.MiB + 1 }, "base size", "multiple of 512")
	option("reserve", func(_ *fixture, o *thinpool.CreateOptions) {
		o.Reserve = &store.Reserve{Data: -1, Metadata: 91, Host: 100}
	},
		"data reserve -1%", "metadata reserve 91%", "host reserve 100%", "from 0 to 90")
	option("all faults at once", func(f *fixture, o *thinpool.CreateOptions) {
		o.DataSize, o.MetadataSize, o.BaseSize, o.MetadataDevice = 64*units.MiB+512, units.MiB, 7, f.disk+"x"
	}, "data size", "base size", "sdax")
	option("same device twice", func(f *fixture, o *thinpool.CreateOptions) { o.DataDevice, o.MetadataDevice = f.disk, f.disk }, "sda", "same device", "give each its own")
	return bad
}

func badPaths() []badInput {
	onDisk := creating(func(f *fixture, o *thinpool.CreateOptions) { o.DataDevice, o.DataSize = f.disk, 0 })
	holds := func(what string, at int64, magic string) badInput {
		return badInput{
			name: "device holds " + what, try: onDisk, kind: thinpool.ErrHoldsData, cure: thinpool.CureForce, texts: []string{"sda holds " + what},
			given: func(t *testing.T, f *fixture) { f.write(f.disk, at, magic) },
		}
	}
	return []badInput{
		{name: "pool exists", try: creatingAs("vault", nil), kind: fault.Exists, texts: []string{"ROOT/vault", "choose another name"}},
		{
			name: "directory exists", try: creating(nil), kind: fault.Exists, texts: []string{"ROOT/new", "choose another name"},
			given: func(t *testing.T, f *fixture) { check(t, os.Mkdir(filepath.Join(f.Root, "new"), 0o755)) },
		},
		{
			name: "file exists", try: creating(nil), kind: fault.Exists, texts: []string{"ROOT/new", "remove it"},
			given: func(t *testing.T, f *fixture) {
				check(t, os.WriteFile(filepath.Join(f.Root, "new"), []byte("mine"), 0o644))
			},
		},
		{
			name: "dangling link", try: creating(nil), kind: fault.Exists, texts: []string{"ROOT/new"},
			given: func(t *testing.T, f *fixture) { check(t, os.Symlink("/nowhere", filepath.Join(f.Root, "new"))) },
		},
		{
			name: "device name taken", try: creating(nil), kind: fault.Exists, cure: thinpool.CureRemoveDevice, texts: []string{"thinctl-new"},
			given: func(t *testing.T, f *fixture) {
				_, err := f.Kernel.Create(t.Context(), "thinctl-new", "LVM-another")
				check(t, err)
			},
		},
		holds("an ext2, ext3 or ext4 file system", 1080, "\x53\xef"), holds("an LVM physical volume", 512, "LABELONE"),
		holds("a partition table", 510, "\x55\xaa"), holds("a GPT partition table", 512, "EFI PART"),
		holds("thin pool metadata", 32, "\xba\x52\x9c\x01"), holds("unknown data", 256<<20-1, "x"),
		{
			name: "metadata not zero", kind: thinpool.ErrHoldsData, cure: thinpool.CureForce, texts: []string{"sdb holds unknown data at byte 5000"},
			given: func(t *testing.T, f *fixture) { f.write(f.other, 5000, "x") },
			try:   creating(func(f *fixture, o *thinpool.CreateOptions) { o.MetadataDevice, o.MetadataSize = f.other, 0 }),
		},
		{
			name: "device in use", try: onDisk, kind: fault.Busy, cure: thinpool.CureShowUsers, texts: []string{"sda is mounted or held"},
			given: func(t *testing.T, f *fixture) {
				device, err := f.host.Disks.Device(f.disk)
				check(t, err)
				_, err = f.Kernel.Hold(device.Dev)
				check(t, err)
			},
		},
		{
			name: "device too small", texts: []string{"sdb has 16M, 64M is needed", "larger device"}, kind: fault.Invalid,
			try: creating(func(f *fixture, o *thinpool.CreateOptions) { o.DataDevice = f.other }),
		},
		{
			name: "device is a file", texts: []string{"plain is not a block device"}, kind: fault.Invalid,
			given: func(t *testing.T, f *fixture) {
				f.more = filepath.Join(filepath.Dir(f.Root), "plain")
				check(t, os.WriteFile(f.more, make([]byte, 4096), 0o600))
			},
			try: creating(func(f *fixture, o *thinpool.CreateOptions) { o.DataDevice = f.more }),
		},
		{
			name: "device is not there", texts: []string{"/dev/none"}, kind: fault.Invalid,
			try: creating(func(f *fixture, o *thinpool.CreateOptions) { o.DataDevice = "/dev/none" }),
		},
		{
			name: "no thin target", try: creating(nil), kind: fault.Unsupported, cure: thinpool.CureLoadModule, texts: []string{"thin-pool"},
			given: func(t *testing.T, f *fixture) {
				f.host.Kernel = dmtest.New(dmtest.Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: {}, dm.TypeThin: {}}})
			},
		},
		{
			name: "full policy on an old kernel", kind: fault.Unsupported, texts: []string{"1.9", "leave the full policy at queue"},
			given: func(t *testing.T, f *fixture) {
				f.host.Kernel = dmtest.New(dmtest.Options{TargetVersions: map[string]dm.Version{dm.TypeThinPool: {1, 9, 0}}})
			},
			try: creating(func(_ *fixture, o *thinpool.CreateOptions) { o.ErrorIfFull = true }),
		},
		{
			name: "no device mapper", try: creating(nil), kind: dm.ErrNoDeviceMapper, texts: []string{"modprobe dm_mod"},
			given: func(t *testing.T, f *fixture) {
				f.host.Kernel = dmtest.New(dmtest.Options{Unavailable: dm.ErrNoDeviceMapper})
			},
		},
		{
			name: "not root", try: creating(nil), kind: fault.Denied, texts: []string{"needs root"},
			given: func(t *testing.T, f *fixture) {
				f.host.Kernel = dmtest.New(dmtest.Options{Unavailable: fault.Denied})
			},
		},
		{
			name: "loop devices exhausted", try: creating(nil), kind: loopback.ErrExhausted, cure: thinpool.CureFreeLoops, texts: []string{"pool new", "exhausted"},
			given: func(t *testing.T, f *fixture) { f.host.Loops = exhausted{f.host.Loops} },
		},
		{
			name: "no space for the files", try: creating(nil), kind: loopback.ErrNoSpace, texts: []string{"pool new", "no space on the host file system", "free some space"},
			given: func(t *testing.T, f *fixture) { f.host.Disks = fullDisks{f.host.Disks} },
		},
	}
}

// exhausted has a loop device for one file only.
type exhausted struct{ loopback.Loops }

func (e exhausted) Attach(ctx context.Context, file string, o loopback.AttachOptions) (loopback.Device, error) {
	if strings.HasSuffix(file, "/data") {
		return loopback.Device{}, &loopback.Error{Op: "attach", Object: file, Kind: loopback.ErrExhausted}
	}
	return e.Loops.Attach(ctx, file, o)
}

type fullDisks struct{ thinpool.Disks }

func (d fullDisks) CreateSparse(path string, size units.Bytes, o loopback.FileOptions) error {
	if strings.HasSuffix(path, "/data") {
		return &loopback.Error{Op: "create", Object: path, Kind: loopback.ErrNoSpace, Err: syscall.ENOSPC}
	}
	return errors.Join(d.Disks.CreateSparse(path, size, o))
}
