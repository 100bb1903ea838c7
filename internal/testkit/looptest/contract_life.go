package looptest

import (
	"context"
	"os"
	"path/filepath"

	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/units"
)

func (s suite) find() {
	path := s.file("file", units.MiB)
	s.found(path)
	d := s.mustAttach(path, loopback.AttachOptions{})
	hard, soft, moved := filepath.Join(s.Dir, "hard"), filepath.Join(s.Dir, "soft"), filepath.Join(s.Dir, "moved")
	for _, err := range []error{os.Link(path, hard), os.Symlink(path, soft)} {
		if err != nil {
			s.Fatal(err)
		}
	}
	s.found(path, d)
	s.found(hard, d)
	s.found(soft, d)
	if err := os.Rename(path, moved); err != nil {
		s.Fatal(err)
	}
	s.found(moved, d)
	s.found(path)
	if info := s.mustInfo(d); info.BackingPath != moved {
		s.Errorf("backing path: got %q, want %q", info.BackingPath, moved)
	}
	other := s.file("file", units.MiB)
	s.found(other)
}

func (s suite) findDeleted() {
	path := s.file("file", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	if err := os.Remove(path); err != nil {
		s.Fatal(err)
	}
	s.found(path, d)
	if info := s.mustInfo(d); info.BackingPath != path+" (deleted)" {
		s.Errorf("backing path: got %q, want %q", info.BackingPath, path+" (deleted)")
	}
	// A new file of that name is another file.
	s.file("file", units.MiB)
	s.found(path)
	fresh := s.mustAttach(path, loopback.AttachOptions{Reuse: true})
	if fresh.Path == d.Path || fresh.Backing == d.Backing {
		s.Errorf("device of the new file: got %+v, want another than %s", fresh, d.Path)
	}
	s.found(path, fresh)
	s.mustDetach(d)
}

func (s suite) refresh() {
	path := s.file("file", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	if err := loopback.Grow(path, 3*units.MiB, loopback.FileOptions{}); err != nil {
		s.Fatal(err)
	}
	if size := s.mustInfo(d).Size; size != units.MiB {
		s.Errorf("size before refresh: got %d, want %d", size, units.MiB)
	}
	for range 2 {
		size, err := s.Loops.Refresh(s.Context(), d)
		if err != nil || size != 3*units.MiB {
			s.Errorf("refresh: got %d, %v, want %d", size, err, 3*units.MiB)
		}
	}
	if size := s.mustInfo(d).Size; size != 3*units.MiB {
		s.Errorf("size after refresh: got %d, want %d", size, 3*units.MiB)
	}
}

func (s suite) busy() {
	path := s.file("file", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	release := s.Claim(s.T, d)
	before := s.mustInfo(d)
	s.wantError(s.Loops.Detach(s.Context(), d), fault.Busy)
	if after := s.mustInfo(d); after != before {
		s.Errorf("info after a failed Detach: got %+v, want %+v", after, before)
	}
	release()
	s.mustDetach(d)
	s.found(path)
}

func (s suite) foreign() {
	a, b := s.file("a", units.MiB), s.file("b", units.MiB)
	da := s.mustAttach(a, loopback.AttachOptions{})
	s.mustDetach(da)
	db := s.mustAttach(b, loopback.AttachOptions{})
	stale := db
	stale.File, stale.Backing = da.File, da.Backing
	s.wantError(s.Loops.Detach(s.Context(), stale), loopback.ErrForeign)
	_, err := s.Loops.Info(s.Context(), stale)
	s.wantError(err, loopback.ErrForeign)
	_, err = s.Loops.Refresh(s.Context(), stale)
	s.wantError(err, loopback.ErrForeign)
	noBacking := db
	noBacking.Backing = loopback.FileID{}
	s.wantError(s.Loops.Detach(s.Context(), noBacking), loopback.ErrForeign)
	s.found(b, db)
}

func (s suite) detached() {
	path := s.file("file", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	s.mustDetach(d)
	s.found(path)
	again := s.Loops.Detach(s.Context(), d)
	_, info := s.Loops.Info(s.Context(), d)
	_, refresh := s.Loops.Refresh(s.Context(), d)
	for _, err := range []error{again, info, refresh} {
		s.wantError(err, loopback.ErrNotAttached)
	}
}

func (s suite) cancelled() {
	path := s.file("file", units.MiB)
	other := s.file("other", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, attach := s.Loops.Attach(ctx, other, loopback.AttachOptions{})
	_, find := s.Loops.Find(ctx, path)
	_, info := s.Loops.Info(ctx, d)
	_, refresh := s.Loops.Refresh(ctx, d)
	detach := s.Loops.Detach(ctx, d)
	for _, err := range []error{attach, find, info, refresh, detach} {
		s.wantError(err, context.Canceled)
	}
	s.found(other)
	s.found(path, d)
}
