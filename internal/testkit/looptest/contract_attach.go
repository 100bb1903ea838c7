package looptest

import (
	"os"
	"path/filepath"
	"sync"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/units"
)

func (s suite) attach() {
	path := s.file("data", 8*units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	if d.Backing != id(s.T, path) || d.File != path || d.Number.Major != 7 || d.ReadOnly {
		s.Errorf("device: got %+v, want %s, read-write", d, path)
	}
	info := s.mustInfo(d)
	want := loopback.Info{
		Device: d, BackingPath: path, Size: 8 * units.MiB,
		SectorSize: info.SectorSize, DirectIO: d.DirectIO,
	}
	if info != want {
		s.Errorf("info: got %+v, want %+v", info, want)
	}
	if info.SectorSize < 512 || info.SectorSize > 4096 {
		s.Errorf("sector size: got %d, want 512 to 4096", info.SectorSize)
	}
}

func (s suite) sectors() {
	d := s.mustAttach(s.file("odd", units.MiB+513), loopback.AttachOptions{Buffered: true})
	if size := s.mustInfo(d).Size; size != units.MiB+512 {
		s.Errorf("size: got %d, want %d", size, units.MiB+512)
	}
}

func (s suite) options() {
	path := s.file("file", units.MiB)
	for _, o := range []loopback.AttachOptions{
		{ReadOnly: true},
		{Buffered: true},
		{SectorSize: 4096},
		{SectorSize: 512, Buffered: true},
		{Autoclear: true},
		{},
	} {
		d := s.mustAttach(path, o)
		info := s.mustInfo(d)
		if info.ReadOnly != o.ReadOnly || info.Autoclear != o.Autoclear {
			s.Errorf("info: got %+v, want %+v", info, o)
		}
		if o.Buffered && (info.DirectIO || d.DirectIO) {
			s.Errorf("got direct IO, want %+v", o)
		}
		if o.SectorSize != 0 && info.SectorSize != o.SectorSize {
			s.Errorf("sector size: got %d, want %d", info.SectorSize, o.SectorSize)
		}
		s.mustDetach(d)
	}
}

func (s suite) once() {
	path := s.file("file", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	for _, o := range []loopback.AttachOptions{
		{},
		{ReadOnly: true},
		{Reuse: true, ReadOnly: true},
		{Reuse: true, SectorSize: 2048},
	} {
		_, err := s.Loops.Attach(s.Context(), path, o)
		s.wantError(err, loopback.ErrAttached)
	}
	again := s.mustAttach(path, loopback.AttachOptions{Reuse: true})
	if again != d {
		s.Errorf("reused device: got %+v, want %+v", again, d)
	}
	s.found(path, d)
}

func (s suite) reuseParallel() {
	path := s.file("file", units.MiB)
	const many = 16
	var got [many]loopback.Device
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			var err error
			if got[i], err = s.Loops.Attach(s.Context(), path, loopback.AttachOptions{Reuse: true}); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	defer s.mustDetach(got[0])
	for _, d := range got {
		if d != got[0] {
			s.Fatalf("got %s and %s, want one device", got[0].Path, d.Path)
		}
	}
	s.found(path, got[0])
}

func (s suite) reuseAutoclear() {
	path := s.file("file", units.MiB)
	d := s.mustAttach(path, loopback.AttachOptions{})
	s.mustAttach(path, loopback.AttachOptions{Reuse: true, Autoclear: true})
	if !s.mustInfo(d).Autoclear {
		s.Error("after reuse with autoclear: got it off, want it on")
	}
	s.mustAttach(path, loopback.AttachOptions{Reuse: true})
	if s.mustInfo(d).Autoclear {
		s.Error("after reuse without autoclear: got it on, want it off")
	}
	s.mustDetach(d)
	s.found(path)
}

func (s suite) parallel() {
	const many = 20
	var files [many]string
	var got [many]loopback.Device
	var all sync.WaitGroup
	for i := range many {
		files[i] = s.file("file"+string(rune('a'+i)), units.MiB)
		all.Go(func() {
			var err error
			if got[i], err = s.Loops.Attach(s.Context(), files[i], loopback.AttachOptions{}); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	for _, d := range got {
		defer s.mustDetach(d)
	}
	seen := map[blockdev.Number]string{}
	for i, d := range got {
		if other, dup := seen[d.Number]; dup {
			s.Errorf("%s and %s are both attached to %s", files[i], other, d.Path)
		}
		seen[d.Number] = files[i]
		s.found(files[i], d)
	}
}

func (s suite) invalid() {
	_, err := s.Loops.Attach(s.Context(), filepath.Join(s.Dir, "none"), loopback.AttachOptions{})
	s.wantError(err, os.ErrNotExist)
	_, err = s.Loops.Attach(s.Context(), s.Dir, loopback.AttachOptions{})
	s.wantError(err, loopback.ErrNotRegular)
	path := s.file("file", units.MiB)
	for _, size := range []units.Bytes{1, 256, 513, 1536, units.MiB} {
		_, err := s.Loops.Attach(s.Context(), path, loopback.AttachOptions{SectorSize: size})
		s.wantError(err, fault.Invalid)
	}
	s.found(path)
}
