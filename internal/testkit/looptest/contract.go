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

// Env is an implementation of Loops for the contract to run against.
type Env struct {
	Loops loopback.Loops
	Dir   string // an empty folder for files; the suite detaches what it attaches

	// Claim opens the device as a mount does, until release is called.
	Claim func(t *testing.T, d loopback.Device) (release func())
}

// Contract runs what every implementation of Loops must do. The factory is
// called for each part; Detach must give up within seconds where it is busy.
func Contract(t *testing.T, factory func(t *testing.T) Env) {
	parts := []struct {
		name string
		run  func(s suite)
	}{
		{"attach tells what the kernel has", suite.attach},
		{"sizes are whole sectors", suite.odd},
		{"options are kept", suite.options},
		{"a file is attached once", suite.once},
		{"reuse is one device for all", suite.reuseParallel},
		{"reuse sets autoclear", suite.reuseAutoclear},
		{"parallel attaches are distinct", suite.parallel},
		{"found by its inode", suite.find},
		{"found when deleted", suite.findDeleted},
		{"refresh takes growth over", suite.refresh},
		{"a claimed device is not detached", suite.busy},
		{"a stranger's device is left alone", suite.foreign},
		{"detached is detached", suite.detached},
		{"what cannot be attached", suite.refused},
		{"an ended context ends everything", suite.cancelled},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.run(suite{T: t, Env: factory(t)}) })
	}
}

type suite struct {
	*testing.T
	Env
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
		s.Fatalf("found %v behind %s, want %v", got, file, want)
	}
	for i := range want {
		if got[i].Path != want[i].Path || got[i].Backing != want[i].Backing || got[i].Number != want[i].Number {
			s.Errorf("found %+v, want %+v", got[i], want[i])
		}
	}
}

func (s suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("error %v, want %v", err, want)
	}
	var op *loopback.Error
	if err != nil && (!errors.As(err, &op) || op.Op == "" || op.Object == "") {
		s.Errorf("error %#v names no operation and object", err)
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
