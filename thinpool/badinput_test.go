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

// badInput is something that has to be refused.
type badInput struct {
	name string
	// given is brought about before; what stands then must stand after.
	given func(t *testing.T, s *stage)
	try   func(ctx context.Context, s *stage) error
	kind  error    // what the error is, nil for no sentinel
	says  []string // the thing, and the remedy
}

// stage is a world with the pool vault, which has the active volume base with
// content, and a host that the case may spoil.
type stage struct {
	*thinpooltest.Fixture
	t     *testing.T
	host  thinpool.Host
	vault *thinpool.Pool
	base  thinpool.Volume
	disk  string // a blank device of 256 MiB
	other string // another, of 16 MiB
	more  string // for the case itself
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Fixture: thinpooltest.New(t), t: t}
	s.host = s.Host()
	ctx := t.Context()
	var err error
	s.vault, err = thinpool.Create(ctx, s.host, s.Root, "vault", thinpooltest.SmallPool())
	check(t, err)
	s.base, err = s.vault.CreateVolume(ctx, "base", thinpool.VolumeOptions{})
	check(t, err)
	s.base, err = s.vault.ActivateVolume(ctx, "base")
	check(t, err)
	check(t, s.Kernel.WriteStamp(s.base.Dev, 0, 42))
	s.disk = s.AddDevice(t, "sda", 256*units.MiB)
	s.other = s.AddDevice(t, "sdb", 16*units.MiB)
	return s
}

func (s *stage) file(name string) string { return filepath.Join(s.Root, "vault", name) }

// idle deactivates the pool.
func (s *stage) idle() {
	s.t.Helper()
	check(s.t, s.vault.Deactivate(s.t.Context()))
}

// saved deactivates the pool and keeps a copy of a file of its.
func (s *stage) saved(name string) (restore func()) {
	s.t.Helper()
	s.idle()
	content, err := os.ReadFile(s.file(name))
	check(s.t, err)
	check(s.t, s.vault.Activate(s.t.Context()))
	return func() {
		s.idle()
		check(s.t, s.vault.Close(s.t.Context()))
		check(s.t, os.WriteFile(s.file(name), content, 0o600))
	}
}

func (s *stage) add(names ...string) {
	s.t.Helper()
	for _, name := range names {
		_, err := s.vault.CreateVolume(s.t.Context(), name, thinpool.VolumeOptions{})
		check(s.t, err)
	}
}

func (s *stage) write(path string, at int64, text string) {
	s.t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	check(s.t, err)
	defer file.Close()
	_, err = file.WriteAt([]byte(text), at)
	check(s.t, err)
}

// world is everything that a refusal must leave as it was.
type world struct {
	Devices []dm.Entry
	Tables  [][]dm.Line
	Loops   []loopback.Device
	Files   map[string]string // mode, size and digest
}

func (s *stage) look() world {
	s.t.Helper()
	w := world{Loops: s.Loops.Attached(), Files: map[string]string{}}
	var err error
	w.Devices, err = s.Kernel.List(s.t.Context())
	check(s.t, err)
	for _, entry := range w.Devices {
		lines, err := s.Kernel.Table(s.t.Context(), dm.ByDev(entry.Dev))
		check(s.t, err)
		w.Tables = append(w.Tables, lines)
	}
	err = filepath.WalkDir(filepath.Dir(s.Root), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		said := info.Mode().String()
		if info.Mode().IsRegular() {
			sum, err := digest(path)
			if err != nil {
				return err
			}
			said = fmt.Sprintf("%s %d %x", said, info.Size(), sum)
		}
		w.Files[path] = said
		return nil
	})
	check(s.t, err)
	return w
}

// digest sums up a sparse file's data and where it lies.
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

func (w world) differs(from world) (faults []string) {
	if !reflect.DeepEqual(w.Devices, from.Devices) || !reflect.DeepEqual(w.Tables, from.Tables) {
		faults = append(faults, fmt.Sprintf("devices were %v %v, are %v %v", from.Devices, from.Tables, w.Devices, w.Tables))
	}
	if !reflect.DeepEqual(w.Loops, from.Loops) {
		faults = append(faults, fmt.Sprintf("loop devices were %v, are %v", from.Loops, w.Loops))
	}
	for path, now := range w.Files {
		if before, ok := from.Files[path]; !ok {
			faults = append(faults, "new: "+path)
		} else if now != before {
			faults = append(faults, fmt.Sprintf("changed: %s: %s, was %s", path, now, before))
		}
	}
	for path := range from.Files {
		if _, ok := w.Files[path]; !ok {
			faults = append(faults, "gone: "+path)
		}
	}
	return faults
}

// Each bad input is a clear error that names the thing and the remedy, and
// changes nothing.
func TestBadInput(t *testing.T) {
	var all []badInput
	all = append(append(append(all, badOptions()...), badPlaces()...), badPools()...)
	for _, c := range append(all, badVolumes()...) {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			if c.given != nil {
				c.given(t, s)
			}
			before := s.look()
			err := c.try(t.Context(), s)
			if err == nil {
				t.Fatal("it was let through")
			}
			t.Log(err)
			if c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("it is not %q", c.kind)
			}
			for _, text := range c.says {
				if text = strings.ReplaceAll(text, "ROOT", s.Root); !strings.Contains(err.Error(), text) {
					t.Errorf("it does not say %q", text)
				}
			}
			for _, fault := range s.look().differs(before) {
				t.Error(fault)
			}
			if v := s.Kernel.Violations(); len(v) > 0 {
				t.Error(v)
			}
		})
	}
}
