package thinpool_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

// diskFixture is a host with a deactivated pool on two disks, and a third disk that
// holds other data.
type diskFixture struct {
	*thinpooltest.Fixture
	t                     *testing.T
	data, metadata, other string
}

func poolOnDisks(t *testing.T, identities bool) *diskFixture {
	t.Helper()
	f := &diskFixture{Fixture: thinpooltest.New(t), t: t}
	f.data, f.metadata, f.other = f.AddDevice(t, "sda", 64*units.MiB), f.AddDevice(t, "sdb", 4*units.MiB), f.AddDevice(t, "sdc", 64*units.MiB)
	if !identities {
		for _, path := range []string{f.data, f.metadata, f.other} {
			f.SetIdentity(path, disk.Identity{Kind: disk.Whole})
		}
	}
	check(t, os.WriteFile(f.other, bytes.Repeat([]byte("precious"), int(8*units.MiB)), 0o600))
	options := thinpooltest.SmallPool()
	options.DataDevice, options.MetadataDevice, options.DataSize, options.MetadataSize = f.data, f.metadata, 0, 0
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "vault", options)
	check(t, err)
	_, err = pool.CreateVolume(t.Context(), "base", thinpool.VolumeOptions{})
	check(t, err)
	volume, err := pool.ActivateVolume(t.Context(), "base")
	check(t, err)
	check(t, f.Blocks().Write(volume, 0, 42))
	check(t, pool.Deactivate(t.Context()))
	check(t, pool.Close(t.Context()))
	return f
}

func (f *diskFixture) open() *thinpool.Pool {
	f.t.Helper()
	pool, err := thinpool.Open(f.t.Context(), f.Host(), f.Root, "vault")
	check(f.t, err)
	f.t.Cleanup(func() { pool.Close(f.t.Context()) })
	return pool
}

// everything returns the contents of all disks and of the pool's directory.
func (f *diskFixture) everything() map[string]string {
	f.t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob(filepath.Dir(f.Root) + "/sd*")
	check(f.t, err)
	inside, err := filepath.Glob(f.Root + "/vault/*")
	check(f.t, err)
	for _, name := range append(names, inside...) {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			file, err := os.Open(name)
			check(f.t, err)
			sum := sha256.New()
			_, err = io.Copy(sum, file)
			check(f.t, errors.Join(err, file.Close()))
			all[name] = string(sum.Sum(nil))
		}
	}
	return all
}

// refused checks that an activation of the pool fails and changes nothing. cure is "" for
// any.
func (f *diskFixture) refused(kind error, cure thinpool.CureCode, texts ...string) {
	f.t.Helper()
	before := f.everything()
	err := f.open().Activate(f.t.Context())
	if !errors.Is(err, kind) {
		f.t.Errorf("got %v, want %v", err, kind)
	}
	if cure != "" {
		wantCure(f.t, err, cure)
	}
	for _, text := range append(texts, "vault") {
		if err != nil && !strings.Contains(err.Error(), text) {
			f.t.Errorf("got error %q, want it to contain %q", err, text)
		}
	}
	after := f.everything()
	if len(after) != len(before) {
		f.t.Errorf("got %d files and disks, want %d", len(after), len(before))
	}
	for name, content := range before {
		if after[name] != content {
			f.t.Errorf("%s was changed", name)
		}
	}
	report, err := f.open().Check(f.t.Context())
	check(f.t, err)
	if got := codes(report.Findings); len(got) == 0 || got[0] != thinpool.FindIdentity {
		f.t.Errorf("check: got findings %q, want %q first", got, thinpool.FindIdentity)
	}
}

// works activates the pool and reads the written block.
func (f *diskFixture) works(options thinpool.ActivateOptions) thinpool.Status {
	f.t.Helper()
	pool := f.open()
	check(f.t, pool.ActivateWith(f.t.Context(), options))
	volume, err := pool.ActivateVolume(f.t.Context(), "base")
	check(f.t, err)
	check(f.t, thinpooltest.Expect(f.Blocks(), volume, 0, 42))
	status, err := pool.Status(f.t.Context())
	check(f.t, err)
	report, err := pool.Check(f.t.Context())
	check(f.t, err)
	if len(report.Findings) > 0 || len(report.Disks) != 2 {
		f.t.Errorf("check: got findings %+v on %+v", report.Findings, report.Disks)
	}
	return status
}

// TestDisksUnderOtherNames checks that disks with exchanged names are found by their identity,
// or by their contents alone.
func TestDisksUnderOtherNames(t *testing.T) {
	for name, identities := range map[string]bool{"by identity": true, "by mark": false} {
		t.Run(name, func(t *testing.T) {
			f := poolOnDisks(t, identities)
			f.Rearrange(t, map[string]string{f.data: f.metadata, f.metadata: f.other, f.other: f.data})
			f.PowerOff(t)
			status := f.works(thinpool.ActivateOptions{})
			if status.Record.Data.Path != f.metadata || status.Record.Metadata.Path != f.other {
				t.Errorf("recorded %s and %s, want %s and %s", status.Record.Data.Path, status.Record.Metadata.Path, f.metadata, f.other)
			}
			if content, err := os.ReadFile(f.data); err != nil || !bytes.Equal(content, bytes.Repeat([]byte("precious"), int(8*units.MiB))) {
				t.Errorf("the other disk was changed: %v", err)
			}
		})
	}
}

func TestDisksRefused(t *testing.T) {
	foreign := disk.Identity{Kind: disk.Whole, Serial: "another"}
	for name, c := range map[string]struct {
		given func(f *diskFixture) // the power is off after it
		kind  error
		cure  thinpool.CureCode
		texts []string
		plain bool // without identities
	}{
		"another disk under its name": {
			given: func(f *diskFixture) { f.Rearrange(f.t, map[string]string{f.data: "", f.other: f.data}) },
			kind:  thinpool.ErrForeign, texts: []string{"sda (serial sda", "sda (serial sdc", "attach the expected disk"},
		},
		"another disk under its name, no identities": {plain: true,
			given: func(f *diskFixture) { f.Rearrange(f.t, map[string]string{f.data: "", f.other: f.data}) },
			kind:  thinpool.ErrForeign, texts: []string{"sda (no identity", "attach the expected disk"},
		},
		"gone": {
			given: func(f *diskFixture) { f.Rearrange(f.t, map[string]string{f.data: ""}) },
			kind:  thinpool.ErrGone, texts: []string{"sda (serial sda", "attach the expected disk"},
		},
		"metadata gone": {
			given: func(f *diskFixture) { f.Rearrange(f.t, map[string]string{f.metadata: ""}) },
			kind:  thinpool.ErrGone, texts: []string{"the metadata disk", "sdb (serial sdb"},
		},
		"metadata on another disk": {
			given: func(f *diskFixture) { f.Rearrange(f.t, map[string]string{f.metadata: "", f.other: f.metadata}) },
			kind:  thinpool.ErrForeign, texts: []string{"the metadata disk", "sdb (serial sdb", "sdb (serial sdc"},
		},
		"a clone next to it": {
			given: func(f *diskFixture) {
				f.CloneDevice(f.t, f.data, "sdd", disk.Identity{Kind: disk.Whole, Serial: "sda"})
			},
			kind: thinpool.ErrCloned, texts: []string{"sda (serial sda", "sdd (serial sda", "detach the copy"},
		},
		"a clone next to it, no identities": {plain: true,
			given: func(f *diskFixture) { f.CloneDevice(f.t, f.data, "sdd", disk.Identity{Kind: disk.Whole}) },
			kind:  thinpool.ErrCloned, texts: []string{"sda (no identity", "sdd (no identity"},
		},
		"metadata cloned, no identities": {plain: true,
			given: func(f *diskFixture) { f.CloneDevice(f.t, f.metadata, "sdd", disk.Identity{Kind: disk.Whole}) },
			kind:  thinpool.ErrCloned, texts: []string{"the metadata disk"},
		},
		"a copy in its place": {
			given: func(f *diskFixture) {
				f.CloneDevice(f.t, f.data, "sdd", foreign)
				f.Rearrange(f.t, map[string]string{f.data: ""})
			},
			kind: thinpool.ErrGone, cure: thinpool.CureAcceptCopy, texts: []string{"sda (serial sda", "sdd (serial another"},
		},
		"a mapping below it": {plain: true, // a linear device without uuid has gone, and its disk is there
			given: func(f *diskFixture) { f.SetIdentity(f.data, disk.Identity{Kind: disk.Loop}) },
			kind:  thinpool.ErrForeign, cure: thinpool.CureAcceptCopy, texts: []string{"no identity, kind loop"},
		},
		"data shrank": {
			given: func(f *diskFixture) { check(f.t, os.Truncate(f.data, int64(63*units.MiB))) },
			kind:  thinpool.ErrShrunk, texts: []string{"sda has 63M"},
		},
		"metadata shrank": {
			given: func(f *diskFixture) { check(f.t, os.Truncate(f.metadata, int64(3*units.MiB))) },
			kind:  thinpool.ErrShrunk, texts: []string{"sdb has 3M"},
		},
		"contents replaced": {
			given: func(f *diskFixture) { check(f.t, os.WriteFile(f.data, make([]byte, 64*units.MiB), 0o600)) },
			kind:  thinpool.ErrForeign, cure: thinpool.CureAccept, texts: []string{"contents were replaced"},
		},
		"older contents": {
			given: func(f *diskFixture) {
				old, err := os.ReadFile(f.data)
				check(f.t, err)
				check(f.t, f.open().Activate(f.t.Context()))
				f.PowerOff(f.t)
				check(f.t, os.WriteFile(f.data, old, 0o600))
			},
			kind: thinpool.ErrDiverged, cure: thinpool.CureAcceptOlder, texts: []string{"of generation 2, the database of 3"},
		},
		"sysfs cannot be read": {
			given: func(f *diskFixture) { f.SysfsFault = errors.New("no sysfs here") },
			kind:  fault.Unhealthy, texts: []string{"sdb (serial sdb", "no sysfs here", "mount sysfs"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := poolOnDisks(t, !c.plain)
			c.given(f)
			f.PowerOff(t)
			f.refused(c.kind, c.cure, c.texts...)
		})
	}
}

// TestAccept checks the remedy that a refusal names: the copy is accepted, and is found
// without the option from then on.
func TestAccept(t *testing.T) {
	f := poolOnDisks(t, true)
	copied := f.CloneDevice(t, f.data, "sdd", disk.Identity{Kind: disk.Whole, Serial: "another"})
	f.Rearrange(t, map[string]string{f.data: ""})
	f.PowerOff(t)
	if err := f.open().ActivateWith(t.Context(), thinpool.ActivateOptions{Accept: []string{f.other}}); !errors.Is(err, thinpool.ErrForeign) {
		t.Errorf("a disk that holds nothing of the pool: %v, want ErrForeign", err)
	}
	f.works(thinpool.ActivateOptions{Accept: []string{copied}})
	if err := f.open().ActivateWith(t.Context(), thinpool.ActivateOptions{Accept: []string{copied}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("while the pool is active: %v, want fault.Invalid", err)
	}
	f.PowerOff(t)
	if status := f.works(thinpool.ActivateOptions{}); status.Record.Data.Path != copied || status.Record.Data.Identity.Serial != "another" {
		t.Errorf("recorded %+v, want %s", status.Record.Data, copied)
	}
}

// TestDataFile checks that a data file that was replaced, truncated or restored is refused,
// and can be accepted.
func TestDataFile(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string, older []byte) error
		kind   error
		cure   thinpool.CureCode
	}{
		"replaced": {func(t *testing.T, path string, older []byte) error {
			return os.WriteFile(path, make([]byte, len(older)), 0o600)
		}, thinpool.ErrForeign, thinpool.CureAccept},
		"truncated": {func(t *testing.T, path string, older []byte) error { return os.Truncate(path, int64(48*units.MiB)) }, thinpool.ErrShrunk, thinpool.CureAcceptShort},
		"restored":  {func(t *testing.T, path string, older []byte) error { return os.WriteFile(path, older, 0o600) }, thinpool.ErrDiverged, thinpool.CureAcceptOlder},
	} {
		t.Run(name, func(t *testing.T) {
			f := &diskFixture{Fixture: thinpooltest.New(t), t: t}
			pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "vault", thinpooltest.SmallPool())
			check(t, err)
			check(t, pool.Deactivate(t.Context()))
			path := filepath.Join(pool.Dir(), "data")
			older, err := os.ReadFile(path)
			check(t, err)
			if want := int(64*units.MiB + 8*units.KiB); len(older) != want {
				t.Errorf("the data file has %d bytes, want %d", len(older), want)
			}
			check(t, pool.Activate(t.Context()))
			check(t, pool.Deactivate(t.Context()))
			check(t, c.change(t, path, older))
			f.refused(c.kind, c.cure, path)
			check(t, f.open().ActivateWith(t.Context(), thinpool.ActivateOptions{Accept: []string{path}}))
			check(t, f.open().Deactivate(t.Context()))
			check(t, f.open().Activate(t.Context()))
			check(t, f.open().Destroy(t.Context()))
		})
	}
}

// TestOlderDatabase checks that a database from an older copy is refused if the data are
// newer, and that a repair fixes it.
func TestOlderDatabase(t *testing.T) {
	f := poolOnDisks(t, true)
	database := filepath.Join(f.Root, "vault", "state.db")
	older, err := os.ReadFile(database)
	check(t, err)
	for range 2 {
		check(t, f.open().Activate(t.Context()))
		check(t, f.open().Deactivate(t.Context()))
	}
	check(t, os.WriteFile(database, older, 0o600))
	f.refused(thinpool.ErrDiverged, thinpool.CureCheck, "of generation 4, the database of 2", "restored from an older copy")
	repair, err := f.open().Repair(t.Context(), thinpool.RepairOptions{})
	if err != nil || len(repair.Actions) != 1 {
		t.Errorf("repair: %+v, %v; want one action", repair, err)
	}
	f.works(thinpool.ActivateOptions{})
}

// TestDiskChangesWhileActivated checks that a disk is not used if it gets the name of a disk
// of the pool after the check.
func TestDiskChangesWhileActivated(t *testing.T) {
	f := poolOnDisks(t, true)
	opened := 0
	f.AfterOpen = func(path string) {
		if path == f.data {
			if opened++; opened == 1 {
				check(t, os.Rename(f.data, f.data+".gone"))
				check(t, os.Rename(f.other, f.data))
			}
		}
	}
	if err := f.open().Activate(t.Context()); !errors.Is(err, thinpool.ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
	if content, err := os.ReadFile(f.data); err != nil || !bytes.Equal(content, bytes.Repeat([]byte("precious"), int(8*units.MiB))) {
		t.Errorf("the other disk was changed: %v", err)
	}
}

// TestExtendToDeviceChecksIt checks that an extension to a larger device moves the mark, and
// that a device of another pool is refused.
func TestExtendToDeviceChecksIt(t *testing.T) {
	f := poolOnDisks(t, true)
	pool := f.open()
	check(t, pool.Activate(t.Context()))
	check(t, os.Truncate(f.data, int64(96*units.MiB)))
	f.SetIdentity(f.data, disk.Identity{Kind: disk.Whole, Serial: "another"})
	before := f.everything()
	if _, err := pool.Extend(t.Context(), thinpool.ExtendOptions{ToDevice: true}); !errors.Is(err, thinpool.ErrForeign) {
		t.Errorf("onto another disk: %v, want ErrForeign", err)
	}
	for name, content := range f.everything() {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
	f.SetIdentity(f.data, disk.Identity{Kind: disk.Whole, Serial: "sda"})
	done, err := pool.Extend(t.Context(), thinpool.ExtendOptions{ToDevice: true})
	if want := 96*units.MiB - 64*units.KiB; err != nil || done.DataTo != want {
		t.Errorf("extended to %s, %v; want %s", done.DataTo, err, want)
	}
	f.PowerOff(t)
	f.works(thinpool.ActivateOptions{})
}

// TestCreateOnAnotherPoolsDisk checks that a disk of another pool is refused, also with
// Force.
func TestCreateOnAnotherPoolsDisk(t *testing.T) {
	f := poolOnDisks(t, true)
	before := f.everything()
	for _, path := range []string{f.data, f.metadata} {
		options := thinpooltest.SmallPool()
		options.DataDevice, options.DataSize, options.Force = path, units.MiB, true
		_, err := thinpool.Create(t.Context(), f.Host(), f.Root, "second", options)
		if !errors.Is(err, thinpool.ErrHoldsData) || !strings.Contains(err.Error(), "is a disk of pool vault") {
			t.Errorf("%s: got %v, want ErrHoldsData", path, err)
		}
	}
	for name, content := range f.everything() {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestDatabaseFromBeforeAnExtension checks that a database from before an extension is
// refused, and that a repair fixes it.
func TestDatabaseFromBeforeAnExtension(t *testing.T) {
	f := poolOnDisks(t, true)
	database := filepath.Join(f.Root, "vault", "state.db")
	older, err := os.ReadFile(database)
	check(t, err)
	check(t, f.open().Activate(t.Context()))
	check(t, os.Truncate(f.data, int64(96*units.MiB)))
	_, err = f.open().Extend(t.Context(), thinpool.ExtendOptions{ToDevice: true})
	check(t, err)
	volume, err := f.open().ActivateVolume(t.Context(), "base")
	check(t, err)
	// The block of the old mark holds data now.
	check(t, f.Blocks().Write(volume, 1, 7))
	check(t, f.open().Deactivate(t.Context()))
	garbage, err := os.OpenFile(f.data, os.O_WRONLY, 0)
	check(t, err)
	_, err = garbage.WriteAt(bytes.Repeat([]byte{7}, 8192), int64(64*units.MiB-64*units.KiB))
	check(t, errors.Join(err, garbage.Close()))
	check(t, os.WriteFile(database, older, 0o600))
	f.refused(thinpool.ErrDiverged, thinpool.CureCheck, "95.94M of data, the database 63.94M")
	_, err = f.open().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	f.works(thinpool.ActivateOptions{})
}
