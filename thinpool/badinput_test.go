package thinpool_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"thinctl/dm"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

// badInput is a request that must be refused.
type badInput struct {
	name string
	// given prepares the state, which the refusal must leave unchanged.
	given func(t *testing.T, f *fixture)
	try   func(ctx context.Context, f *fixture) error
	kind  error             // of the error; nil for any
	cure  thinpool.CureCode // of the error; "" for any
	texts []string          // the object and the remedy, in the error
}

// fixture is a host with the pool vault, which has the active volume base with content.
// A test may change host before it opens the pool again.
type fixture struct {
	*thinpooltest.Fixture
	t     *testing.T
	host  thinpool.Host
	vault *thinpool.Pool
	base  thinpool.Volume
	disk  string // a blank device of 256 MiB
	other string // another, of 16 MiB
	more  string // set by the test
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Fixture: thinpooltest.New(t), t: t}
	f.host = f.Host()
	ctx := t.Context()
	var err error
	f.vault, err = thinpool.Create(ctx, f.host, f.Root, "vault", thinpooltest.SmallPool())
	check(t, err)
	f.base, err = f.vault.CreateVolume(ctx, "base", thinpool.VolumeOptions{})
	check(t, err)
	f.base, err = f.vault.ActivateVolume(ctx, "base")
	check(t, err)
	check(t, f.Kernel.WriteStamp(f.base.Dev, 0, 42))
	f.disk = f.AddDevice(t, "sda", 256*units.MiB)
	f.other = f.AddDevice(t, "sdb", 16*units.MiB)
	return f
}

func (f *fixture) file(name string) string { return filepath.Join(f.Root, "vault", name) }

// idle deactivates the pool.
func (f *fixture) idle() {
	f.t.Helper()
	check(f.t, f.vault.Deactivate(f.t.Context()))
}

// saved copies a file of the pool. restore deactivates and closes the pool, and writes the
// copy back.
func (f *fixture) saved(name string) (restore func()) {
	f.t.Helper()
	f.idle()
	content, err := os.ReadFile(f.file(name))
	check(f.t, err)
	check(f.t, f.vault.Activate(f.t.Context()))
	return func() {
		f.idle()
		check(f.t, f.vault.Close(f.t.Context()))
		check(f.t, os.WriteFile(f.file(name), content, 0o600))
	}
}

func (f *fixture) add(names ...string) {
	f.t.Helper()
	for _, name := range names {
		_, err := f.vault.CreateVolume(f.t.Context(), name, thinpool.VolumeOptions{})
		check(f.t, err)
	}
}

func (f *fixture) write(path string, at int64, text string) {
	f.t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	check(f.t, err)
	defer file.Close()
	_, err = file.WriteAt([]byte(text), at)
	check(f.t, err)
}

// hostState holds everything that a refusal must leave unchanged.
type hostState struct {
	Devices []dm.Entry
	Tables  [][]dm.Line
	Loops   []loopback.Device
	Files   map[string]string // mode, size and digest
}

func (f *fixture) hostState() hostState {
	f.t.Helper()
	h := hostState{Loops: f.Loops.Attached(), Files: map[string]string{}}
	var err error
	h.Devices, err = f.Kernel.List(f.t.Context())
	check(f.t, err)
	for _, entry := range h.Devices {
		lines, err := f.Kernel.Table(f.t.Context(), dm.ByDev(entry.Dev))
		check(f.t, err)
		h.Tables = append(h.Tables, lines)
	}
	err = filepath.WalkDir(filepath.Dir(f.Root), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		description := info.Mode().String()
		if info.Mode().IsRegular() {
			sum, err := digest(path)
			if err != nil {
				return err
			}
			description = fmt.Sprintf("%s %d %x", description, info.Size(), sum)
		}
		h.Files[path] = description
		return nil
	})
	check(f.t, err)
	return h
}

// digest returns a checksum of a sparse file's data and of their offsets.
func digest(path string) ([]byte, error) {
	const seekData, seekHole = 3, 4 // lseek(2)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum, page := sha256.New(), make([]byte, 4096)
	for at := int64(0); ; {
		if at, err = file.Seek(at, seekData); errors.Is(err, syscall.ENXIO) {
			return sum.Sum(nil), nil
		}
		end, err := file.Seek(at, seekHole)
		if err != nil {
			return nil, err
		}
		for ; at < end; at += int64(len(page)) {
			n, err := file.ReadAt(page, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			if bytes.Trim(page[:n], "\x00") == nil {
				continue // zeros and a hole are the same
			}
			fmt.Fprintln(sum, at)
			sum.Write(page[:n])
		}
	}
}

func (h hostState) differences(from hostState) (faults []string) {
	if !reflect.DeepEqual(h.Devices, from.Devices) || !reflect.DeepEqual(h.Tables, from.Tables) {
		faults = append(faults, fmt.Sprintf("got devices %v %v, want %v %v", h.Devices, h.Tables, from.Devices, from.Tables))
	}
	if !reflect.DeepEqual(h.Loops, from.Loops) {
		faults = append(faults, fmt.Sprintf("got loop devices %v, want %v", h.Loops, from.Loops))
	}
	for path, now := range h.Files {
		if before, ok := from.Files[path]; !ok {
			faults = append(faults, "got a new file "+path)
		} else if now != before {
			faults = append(faults, fmt.Sprintf("%s: got %s, want %s", path, now, before))
		}
	}
	for path := range from.Files {
		if _, ok := h.Files[path]; !ok {
			faults = append(faults, "got no file "+path)
		}
	}
	return faults
}

// TestBadInput checks that each bad input returns an error that names the object and the
// remedy, and that it changes nothing.
func TestBadInput(t *testing.T) {
	var all []badInput
	all = append(append(append(all, badOptions()...), badPaths()...), badPools()...)
	for _, c := range append(all, badVolumes()...) {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if c.given != nil {
				c.given(t, f)
			}
			before := f.hostState()
			err := c.try(t.Context(), f)
			if err == nil {
				t.Fatal("got no error")
			}
			t.Log(err)
			if c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got error %v, want %v", err, c.kind)
			}
			if c.cure != "" {
				wantCure(t, err, c.cure)
			}
			for _, text := range c.texts {
				if text = strings.ReplaceAll(text, "ROOT", f.Root); !strings.Contains(err.Error(), text) {
					t.Errorf("got error %q, want it to contain %q", err, text)
				}
			}
			for _, fault := range f.hostState().differences(before) {
				t.Error(fault)
			}
			if v := f.Kernel.Violations(); len(v) > 0 {
				t.Error(v)
			}
		})
	}
}
