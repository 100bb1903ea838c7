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
	w := &diskFixture{Fixture: thinpooltest.New(t), t: t}
	w.data, w.metadata, w.other = w.AddDevice(t, "sda", 64*units.MiB), w.AddDevice(t, "sdb", 4*units.MiB), w.AddDevice(t, "sdc", 64*units.MiB)
	if !identities {
		for _, path := range []string{w.data, w.metadata, w.other} {
			w.SetIdentity(path, disk.Identity{Kind: disk.Whole})
		}
	}
	check(t, os.WriteFile(w.other, bytes.Repeat([]byte("precious"), int(8*units.MiB)), 0o600))
	options := thinpooltest.SmallPool()
	options.DataDevice, options.MetadataDevice, options.DataSize, options.MetadataSize = w.data, w.metadata, 0, 0
	pool, err := thinpool.Create(t.Context(), w.Host(), w.Root, "vault", options)
	check(t, err)
	_, err = pool.CreateVolume(t.Context(), "base", thinpool.VolumeOptions{})
	check(t, err)
	volume, err := pool.ActivateVolume(t.Context(), "base")
	check(t, err)
	check(t, w.Blocks().Write(volume, 0, 42))
	check(t, pool.Deactivate(t.Context()))
	check(t, pool.Close(t.Context()))
	return w
}

func (w *diskFixture) open() *thinpool.Pool {
	w.t.Helper()
	pool, err := thinpool.Open(w.t.Context(), w.Host(), w.Root, "vault")
	check(w.t, err)
	w.t.Cleanup(func() { pool.Close(w.t.Context()) })
	return pool
}

// everything returns the contents of all disks and of the pool's directory.
func (w *diskFixture) everything() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob(filepath.Dir(w.Root) + "/sd*")
	check(w.t, err)
	inside, err := filepath.Glob(w.Root + "/vault/*")
	check(w.t, err)
	for _, name := range append(names, inside...) {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			file, err := os.Open(name)
			check(w.t, err)
			sum := sha256.New()
			_, err = io.Copy(sum, file)
			check(w.t, errors.Join(err, file.Close()))
			all[name] = string(sum.Sum(nil))
		}
	}
	return all
}

// refused checks that an activation of the pool fails and changes nothing.
func (w *diskFixture) refused(kind error, texts ...string) {
	w.t.Helper()
	before := w.everything()
	err := w.open().Activate(w.t.Context())
	if !errors.Is(err, kind) {
		w.t.Errorf("got %v, want %v", err, kind)
	}
	for _, text := range append(texts, "vault") {
		if err != nil && !strings.Contains(err.Error(), text) {
			w.t.Errorf("got error %q, want it to contain %q", err, text)
		}
	}
	after := w.everything()
	if len(after) != len(before) {
		w.t.Errorf("got %d files and disks, want %d", len(after), len(before))
	}
	for name, content := range before {
		if after[name] != content {
			w.t.Errorf("%s was changed", name)
		}
	}
	report, err := w.open().Check(w.t.Context())
	check(w.t, err)
	if got := codes(report.Findings); len(got) == 0 || got[0] != thinpool.FindIdentity {
		w.t.Errorf("check: got findings %q, want %q first", got, thinpool.FindIdentity)
	}
}

// works activates the pool and reads the written block.
func (w *diskFixture) works(options thinpool.ActivateOptions) thinpool.Status {
	w.t.Helper()
	pool := w.open()
	check(w.t, pool.ActivateWith(w.t.Context(), options))
	volume, err := pool.ActivateVolume(w.t.Context(), "base")
	check(w.t, err)
	check(w.t, thinpooltest.Expect(w.Blocks(), volume, 0, 42))
	status, err := pool.Status(w.t.Context())
	check(w.t, err)
	report, err := pool.Check(w.t.Context())
	check(w.t, err)
	if len(report.Findings) > 0 || len(report.Disks) != 2 {
		w.t.Errorf("check: got findings %+v on %+v", report.Findings, report.Disks)
	}
	return status
}

// TestDisksUnderOtherNames checks that disks with exchanged names are found by their identity,
// or by their contents alone.
func TestDisksUnderOtherNames(t *testing.T) {
	for name, identities := range map[string]bool{"by identity": true, "by mark": false} {
		t.Run(name, func(t *testing.T) {
			w := poolOnDisks(t, identities)
			w.Rearrange(t, map[string]string{w.data: w.metadata, w.metadata: w.other, w.other: w.data})
			w.PowerOff(t)
			status := w.works(thinpool.ActivateOptions{})
			if status.Record.Data.Path != w.metadata || status.Record.Metadata.Path != w.other {
				t.Errorf("recorded %s and %s, want %s and %s", status.Record.Data.Path, status.Record.Metadata.Path, w.metadata, w.other)
			}
			if content, err := os.ReadFile(w.data); err != nil || !bytes.Equal(content, bytes.Repeat([]byte("precious"), int(8*units.MiB))) {
				t.Errorf("the other disk was changed: %v", err)
			}
		})
	}
}

func TestDisksRefused(t *testing.T) {
	foreign := disk.Identity{Kind: disk.Whole, Serial: "another"}
	for name, c := range map[string]struct {
		given func(w *diskFixture) // the power is off after it
		kind  error
		texts []string
		plain bool // without identities
	}{
		"another disk under its name": {
			given: func(w *diskFixture) { w.Rearrange(w.t, map[string]string{w.data: "", w.other: w.data}) },
			kind:  thinpool.ErrForeign, texts: []string{"sda (serial sda", "sda (serial sdc", "attach the expected disk"},
		},
		"another disk under its name, no identities": {plain: true,
			given: func(w *diskFixture) { w.Rearrange(w.t, map[string]string{w.data: "", w.other: w.data}) },
			kind:  thinpool.ErrForeign, texts: []string{"sda (no identity", "attach the expected disk"},
		},
		"gone": {
			given: func(w *diskFixture) { w.Rearrange(w.t, map[string]string{w.data: ""}) },
			kind:  thinpool.ErrGone, texts: []string{"sda (serial sda", "attach the expected disk"},
		},
		"metadata gone": {
			given: func(w *diskFixture) { w.Rearrange(w.t, map[string]string{w.metadata: ""}) },
			kind:  thinpool.ErrGone, texts: []string{"the metadata disk", "sdb (serial sdb"},
		},
		"metadata on another disk": {
			given: func(w *diskFixture) { w.Rearrange(w.t, map[string]string{w.metadata: "", w.other: w.metadata}) },
			kind:  thinpool.ErrForeign, texts: []string{"the metadata disk", "sdb (serial sdb", "sdb (serial sdc"},
		},
		"a clone next to it": {
			given: func(w *diskFixture) {
				w.CloneDevice(w.t, w.data, "sdd", disk.Identity{Kind: disk.Whole, Serial: "sda"})
			},
			kind: thinpool.ErrCloned, texts: []string{"sda (serial sda", "sdd (serial sda", "detach the copy"},
		},
		"a clone next to it, no identities": {plain: true,
			given: func(w *diskFixture) { w.CloneDevice(w.t, w.data, "sdd", disk.Identity{Kind: disk.Whole}) },
			kind:  thinpool.ErrCloned, texts: []string{"sda (no identity", "sdd (no identity"},
		},
		"metadata cloned, no identities": {plain: true,
			given: func(w *diskFixture) { w.CloneDevice(w.t, w.metadata, "sdd", disk.Identity{Kind: disk.Whole}) },
			kind:  thinpool.ErrCloned, texts: []string{"the metadata disk"},
		},
		"a copy in its place": {
			given: func(w *diskFixture) {
				w.CloneDevice(w.t, w.data, "sdd", foreign)
				w.Rearrange(w.t, map[string]string{w.data: ""})
			},
			kind: thinpool.ErrGone, texts: []string{"sda (serial sda", "sdd (serial another", "thinctl pool activate vault --accept", "sdd"},
		},
		"a mapping below it": {plain: true, // a linear device without uuid has gone, and its disk is there
			given: func(w *diskFixture) { w.SetIdentity(w.data, disk.Identity{Kind: disk.Loop}) },
			kind:  thinpool.ErrForeign, texts: []string{"no identity, kind loop", "--accept"},
		},
		"data shrank": {
			given: func(w *diskFixture) { check(w.t, os.Truncate(w.data, int64(63*units.MiB))) },
			kind:  thinpool.ErrShrunk, texts: []string{"sda has 63M"},
		},
		"metadata shrank": {
			given: func(w *diskFixture) { check(w.t, os.Truncate(w.metadata, int64(3*units.MiB))) },
			kind:  thinpool.ErrShrunk, texts: []string{"sdb has 3M"},
		},
		"contents replaced": {
			given: func(w *diskFixture) { check(w.t, os.WriteFile(w.data, make([]byte, 64*units.MiB), 0o600)) },
			kind:  thinpool.ErrForeign, texts: []string{"contents were replaced", "--accept"},
		},
		"older contents": {
			given: func(w *diskFixture) {
				old, err := os.ReadFile(w.data)
				check(w.t, err)
				check(w.t, w.open().Activate(w.t.Context()))
				w.PowerOff(w.t)
				check(w.t, os.WriteFile(w.data, old, 0o600))
			},
			kind: thinpool.ErrDiverged, texts: []string{"of generation 2, the database of 3", "--accept"},
		},
		"sysfs cannot be read": {
			given: func(w *diskFixture) { w.SysfsFault = errors.New("no sysfs here") },
			kind:  fault.Unhealthy, texts: []string{"sdb (serial sdb", "no sysfs here", "mount sysfs"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := poolOnDisks(t, !c.plain)
			c.given(w)
			w.PowerOff(t)
			w.refused(c.kind, c.texts...)
		})
	}
}

// TestAccept checks the remedy that a refusal names: the copy is accepted, and is found
// without the option from then on.
func TestAccept(t *testing.T) {
	w := poolOnDisks(t, true)
	copied := w.CloneDevice(t, w.data, "sdd", disk.Identity{Kind: disk.Whole, Serial: "another"})
	w.Rearrange(t, map[string]string{w.data: ""})
	w.PowerOff(t)
	if err := w.open().ActivateWith(t.Context(), thinpool.ActivateOptions{Accept: []string{w.other}}); !errors.Is(err, thinpool.ErrForeign) {
		t.Errorf("a disk that holds nothing of the pool: %v, want ErrForeign", err)
	}
	w.works(thinpool.ActivateOptions{Accept: []string{copied}})
	if err := w.open().ActivateWith(t.Context(), thinpool.ActivateOptions{Accept: []string{copied}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("while the pool is active: %v, want fault.Invalid", err)
	}
	w.PowerOff(t)
	if status := w.works(thinpool.ActivateOptions{}); status.Record.Data.Path != copied || status.Record.Data.Identity.Serial != "another" {
		t.Errorf("recorded %+v, want %s", status.Record.Data, copied)
	}
}

// TestDataFile checks that a data file that was replaced, truncated or restored is refused,
// and can be accepted.
func TestDataFile(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string, older []byte) error
		kind   error
	}{
		"replaced": {func(t *testing.T, path string, older []byte) error {
			return os.WriteFile(path, make([]byte, len(older)), 0o600)
		}, thinpool.ErrForeign},
		"truncated": {func(t *testing.T, path string, older []byte) error { return os.Truncate(path, int64(48*units.MiB)) }, thinpool.ErrShrunk},
		"restored":  {func(t *testing.T, path string, older []byte) error { return os.WriteFile(path, older, 0o600) }, thinpool.ErrDiverged},
	} {
		t.Run(name, func(t *testing.T) {
			w := &diskFixture{Fixture: thinpooltest.New(t), t: t}
			pool, err := thinpool.Create(t.Context(), w.Host(), w.Root, "vault", thinpooltest.SmallPool())
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
			w.refused(c.kind, path)
			check(t, w.open().ActivateWith(t.Context(), thinpool.ActivateOptions{Accept: []string{path}}))
			check(t, w.open().Deactivate(t.Context()))
			check(t, w.open().Activate(t.Context()))
			check(t, w.open().Destroy(t.Context()))
		})
	}
}

// TestOlderDatabase checks that a database from an older copy is refused if the data are
// newer, and that a repair fixes it.
func TestOlderDatabase(t *testing.T) {
	w := poolOnDisks(t, true)
	database := filepath.Join(w.Root, "vault", "state.db")
	older, err := os.ReadFile(database)
	check(t, err)
	for range 2 {
		check(t, w.open().Activate(t.Context()))
		check(t, w.open().Deactivate(t.Context()))
	}
	check(t, os.WriteFile(database, older, 0o600))
	w.refused(thinpool.ErrDiverged, "of generation 4, the database of 2", "restored from an older copy", "thinctl pool check vault")
	repair, err := w.open().Repair(t.Context(), thinpool.RepairOptions{})
	if err != nil || len(repair.Actions) != 1 {
		t.Errorf("repair: %+v, %v; want one action", repair, err)
	}
	w.works(thinpool.ActivateOptions{})
}

// TestDiskChangesWhileActivated checks that a disk is not used if it gets the name of a disk
// of the pool after the check.
func TestDiskChangesWhileActivated(t *testing.T) {
	w := poolOnDisks(t, true)
	opened := 0
	w.AfterOpen = func(path string) {
		if path == w.data {
			if opened++; opened == 1 {
				check(t, os.Rename(w.data, w.data+".gone"))
				check(t, os.Rename(w.other, w.data))
			}
		}
	}
	if err := w.open().Activate(t.Context()); !errors.Is(err, thinpool.ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
	if content, err := os.ReadFile(w.data); err != nil || !bytes.Equal(content, bytes.Repeat([]byte("precious"), int(8*units.MiB))) {
		t.Errorf("the other disk was changed: %v", err)
	}
}

// TestExtendToDeviceChecksIt checks that an extension to a larger device moves the mark, and
// that a device of another pool is refused.
func TestExtendToDeviceChecksIt(t *testing.T) {
	w := poolOnDisks(t, true)
	pool := w.open()
	check(t, pool.Activate(t.Context()))
	check(t, os.Truncate(w.data, int64(96*units.MiB)))
	w.SetIdentity(w.data, disk.Identity{Kind: disk.Whole, Serial: "another"})
	before := w.everything()
	if _, err := pool.Extend(t.Context(), thinpool.ExtendOptions{ToDevice: true}); !errors.Is(err, thinpool.ErrForeign) {
		t.Errorf("onto another disk: %v, want ErrForeign", err)
	}
	for name, content := range w.everything() {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
	w.SetIdentity(w.data, disk.Identity{Kind: disk.Whole, Serial: "sda"})
	done, err := pool.Extend(t.Context(), thinpool.ExtendOptions{ToDevice: true})
	if want := 96*units.MiB - 64*units.KiB; err != nil || done.DataTo != want {
		t.Errorf("extended to %s, %v; want %s", done.DataTo, err, want)
	}
	w.PowerOff(t)
	w.works(thinpool.ActivateOptions{})
}

// TestCreateOnAnotherPoolsDisk checks that a disk of another pool is refused, also with
// Force.
func TestCreateOnAnotherPoolsDisk(t *testing.T) {
	w := poolOnDisks(t, true)
	before := w.everything()
	for _, path := range []string{w.data, w.metadata} {
		options := thinpooltest.SmallPool()
		options.DataDevice, options.DataSize, options.Force = path, units.MiB, true
		_, err := thinpool.Create(t.Context(), w.Host(), w.Root, "second", options)
		if !errors.Is(err, thinpool.ErrHoldsData) || !strings.Contains(err.Error(), "is a disk of pool vault") {
			t.Errorf("%s: got %v, want ErrHoldsData", path, err)
		}
	}
	for name, content := range w.everything() {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestDatabaseFromBeforeAnExtension checks that a database from before an extension is
// refused, and that a repair fixes it.
func TestDatabaseFromBeforeAnExtension(t *testing.T) {
	w := poolOnDisks(t, true)
	database := filepath.Join(w.Root, "vault", "state.db")
	older, err := os.ReadFile(database)
	check(t, err)
	check(t, w.open().Activate(t.Context()))
	check(t, os.Truncate(w.data, int64(96*units.MiB)))
	_, err = w.open().Extend(t.Context(), thinpool.ExtendOptions{ToDevice: true})
	check(t, err)
	volume, err := w.open().ActivateVolume(t.Context(), "base")
	check(t, err)
	// The block of the old mark holds data now.
	check(t, w.Blocks().Write(volume, 1, 7))
	check(t, w.open().Deactivate(t.Context()))
	garbage, err := os.OpenFile(w.data, os.O_WRONLY, 0)
	check(t, err)
	_, err = garbage.WriteAt(bytes.Repeat([]byte{7}, 8192), int64(64*units.MiB-64*units.KiB))
	check(t, errors.Join(err, garbage.Close()))
	check(t, os.WriteFile(database, older, 0o600))
	w.refused(thinpool.ErrDiverged, "95.94M of data, the database 63.94M", "thinctl pool check vault")
	_, err = w.open().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	w.works(thinpool.ActivateOptions{})
}
