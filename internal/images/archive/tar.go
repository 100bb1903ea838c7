package archive

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
)

// maxEntries is far more than 10,000 images of 127 layers need.
const maxEntries = 1 << 22

// tarTree is the index of a tar.
type tarTree struct {
	f       *os.File
	warn    fault.Warn
	read    int // entries so far
	entries map[string]tarEntry
	ended   bool // by the two blocks of zeros that end a tar
}

type tarEntry struct {
	offset, size int64
	kind         byte
	link         string // where a link leads, from the archive's root
	repeated     bool
	sparse       bool
	number       int // of the entry, starting at 1
}

// indexFile reads the index of an uncompressed tar. The tree closes f.
func indexFile(ctx context.Context, f *os.File, warn fault.Warn) (tree, error) {
	t := &tarTree{f: f, warn: warn, entries: map[string]tarEntry{}}
	if err := t.index(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

func (t *tarTree) index(ctx context.Context) error {
	size, err := t.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	section := io.NewSectionReader(t.f, 0, size)
	r := tar.NewReader(section)
	last := ""
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t.end(section)
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return broken(err, last, size)
		}
		// A tar.Reader reads whole blocks only, so that the section is now at the start of
		// the contents.
		offset, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err := t.add(h, offset); err != nil {
			return err
		}
		last = h.Name
	}
}

func (t *tarTree) add(h *tar.Header, offset int64) error {
	name := strings.TrimLeft(path.Clean(h.Name), "/")
	t.read++
	old, repeated := t.entries[name]
	if len(t.entries) >= maxEntries && !repeated {
		return manifest.Errorf(manifest.ErrTooLarge, "more than %d entries", maxEntries)
	}
	e := tarEntry{offset: offset, size: h.Size, kind: h.Typeflag, sparse: isSparse(h), number: t.read}
	switch h.Typeflag {
	case tar.TypeSymlink:
		e.link = path.Join(path.Dir(name), h.Linkname)
		if path.IsAbs(h.Linkname) {
			e.link = h.Linkname
		}
	case tar.TypeLink:
		e.link = h.Linkname
	}
	e.repeated = repeated && (old.kind != tar.TypeDir || e.kind != tar.TypeDir)
	t.entries[name] = e
	return nil
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

func broken(err error, last string, size int64) error {
	switch {
	case size == 0:
		return &Error{Kind: manifest.ErrFormat, Detail: "it is empty", Remedy: "save the image again"}
	case errors.Is(err, io.ErrUnexpectedEOF) && last != "":
		return &Error{
			Part: last, Kind: manifest.ErrTruncated, Detail: "the archive ends here",
			Remedy: "save or copy it again",
		}
	case last == "":
		return &Error{
			Kind: manifest.ErrFormat, Detail: "not a tar archive", Err: err,
			Remedy: "use an archive of docker save, or an OCI layout",
		}
	}
	return &Error{
		Part: last, Kind: manifest.ErrFormat, Detail: "the archive is damaged after this entry", Err: err,
		Remedy: "save or copy it again",
	}
}

// end checks whether the tar is complete.
func (t *tarTree) end(section *io.SectionReader) error {
	if section.Size() == 0 {
		return broken(io.EOF, "", 0)
	}
	offset, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	blocks := make([]byte, 1024)
	if _, err := section.ReadAt(blocks, max(0, offset-1024)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	t.ended = offset >= 1024 && strings.Trim(string(blocks), "\x00") == ""
	return nil
}

func (t *tarTree) explainMissing(e *Error) error {
	if t.ended {
		return e
	}
	e.Kind, e.Remedy = manifest.ErrTruncated, "save or copy the archive again"
	e.Detail += ", and the archive ends too early"
	return e
}

func (t *tarTree) empty() bool { return len(t.entries) == 0 }

func (t *tarTree) has(name string) bool {
	_, found := t.entries[name]
	return found
}

func (t *tarTree) file(name string) (file, error) {
	at, e, err := t.follow(name)
	if err != nil {
		return file{}, err
	}
	if e.repeated {
		t.warn.Add(at, "this entry is there several times; the last one counts")
	}
	switch {
	case e.sparse:
		return file{name: at, size: e.size, open: func() (io.ReadCloser, error) { return t.openSparse(e.number) }}, nil
	case e.kind != tar.TypeReg && e.kind != tar.TypeCont:
		return file{}, &Error{Part: at, Kind: manifest.ErrFormat, Detail: "not a regular file"}
	}
	open := func() (io.ReadCloser, error) {
		return section{io.NewSectionReader(t.f, e.offset, e.size)}, nil
	}
	return file{name: at, size: e.size, open: open}, nil
}

// openSparse opens the entry of a number, which is a sparse file. It reads it with
// archive/tar, which handles the holes.
func (t *tarTree) openSparse(number int) (io.ReadCloser, error) {
	size, err := t.f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	r := tar.NewReader(io.NewSectionReader(t.f, 0, size))
	for range number {
		if _, err := r.Next(); err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, err
		}
	}
	return io.NopCloser(r), nil
}

// follow follows links. Old versions of docker save share layers by links.
func (t *tarTree) follow(name string) (string, tarEntry, error) {
	for range 16 {
		at, err := cleaned(name)
		if err != nil {
			return "", tarEntry{}, err
		}
		e, found := t.entries[at]
		if !found {
			return "", e, t.explainMissing(&Error{
				Part: at, Kind: manifest.ErrMissing, Detail: "the archive has no such entry",
				Remedy: "save the image again",
			})
		}
		if e.kind != tar.TypeSymlink && e.kind != tar.TypeLink {
			return at, e, nil
		}
		name = e.link
	}
	return "", tarEntry{}, &Error{Part: name, Kind: manifest.ErrFormat, Detail: "a cycle of links"}
}

func (t *tarTree) Close() error { return t.f.Close() }

// section reads one entry's contents. It returns an error, not io.EOF, if the archive was
// truncated in the meantime.
type section struct{ *io.SectionReader }

func (s section) Read(p []byte) (int, error) {
	n, err := s.SectionReader.Read(p)
	if errors.Is(err, io.EOF) {
		if at, _ := s.Seek(0, io.SeekCurrent); at < s.Size() {
			return n, &Error{
				Kind: manifest.ErrTruncated, Detail: "the archive was cut short while it was read",
				Err: io.ErrUnexpectedEOF,
			}
		}
	}
	return n, err
}

func (s section) Close() error { return nil }
