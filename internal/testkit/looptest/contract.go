package looptest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/loopback"
	"thinctl/units"
)

// Fixture is an implementation of Loops for [Contract].
type Fixture struct {
	Loops loopback.Loops
	Dir   string // an empty directory for backing files; Contract detaches all of them

	// Claim opens the device exclusively, as a mount does, until release is called.
	Claim func(t *testing.T, d loopback.Device) (release func())
}

// Contract checks the behaviour that every implementation of Loops must have. It
// calls newFixture for each test. Detach of a busy device must fail within seconds.
func Contract(t *testing.T, newFixture func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		run  func(s suite)
	}{
		{"attach returns the kernel's state", suite.attach},
		{"sizes are whole sectors", suite.sectors},
		{"options have an effect", suite.options},
		{"a file is attached once", suite.once},
		{"parallel reuse gives one device", suite.reuseParallel},
		{"reuse sets autoclear", suite.reuseAutoclear},
		{"parallel attaches are distinct", suite.parallel},
		{"find by inode", suite.find},
		{"find a deleted file", suite.findDeleted},
		{"refresh applies growth", suite.refresh},
		{"a claimed device is not detached", suite.busy},
		{"a device with another file is not changed", suite.foreign},
		{"a free device is not attached", suite.detached},
		{"invalid attachments fail", suite.invalid},
		{"an ended context ends each operation", suite.cancelled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(suite{T: t, Fixture: newFixture(t)}) })
	}
}

type suite struct {
	*testing.T
	Fixture
}

func (s suite) file(name string, size units.Bytes) string {
	s.Helper()
	path := filepath.Join(s.Dir, name)
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		s.Fatal(err)
	}
	return path
}

func (s suite) mustAttach(file string, o loopback.AttachOptions) loopback.Device {
	s.Helper()
	d, err := s.Loops.Attach(s.Context(), file, o)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		err := s.Loops.Detach(context.Background(), d)
		if err != nil && !errors.Is(err, loopback.ErrNotAttached) && !errors.Is(err, loopback.ErrForeign) {
			s.Error(err)
		}
	})
	return d
}

func (s suite) mustInfo(d loopback.Device) loopback.Info {
	s.Helper()
	info, err := s.Loops.Info(s.Context(), d)
	if err != nil {
		s.Fatal(err)
	}
	return info
}

func (s suite) mustDetach(d loopback.Device) {
	s.Helper()
	if err := s.Loops.Detach(s.Context(), d); err != nil {
		s.Fatal(err)
	}
}

func (s suite) found(file string, want ...loopback.Device) {
	s.Helper()
	got, err := s.Loops.Find(s.Context(), file)
	if err != nil {
		s.Fatal(err)
	}
	if len(got) != len(want) {
		s.Fatalf("devices of %s: got %v, want %v", file, got, want)
	}
	for i := range want {
		if got[i].Path != want[i].Path || got[i].Backing != want[i].Backing || got[i].Number != want[i].Number {
			s.Errorf("device of %s: got %+v, want %+v", file, got[i], want[i])
		}
	}
}

// wantError checks that err matches want and has an operation and an object.
func (s suite) wantError(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("got error %v, want %v", err, want)
	}
	var op *loopback.Error
	if err != nil && (!errors.As(err, &op) || op.Op == "" || op.Object == "") {
		s.Errorf("got error %#v, want an operation and an object", err)
	}
}

func id(t *testing.T, path string) loopback.FileID {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fileID(st)
}
