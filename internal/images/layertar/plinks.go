package layertar

import (
	"archive/tar"
	"path"
	"strings"

	"thinctl/units"
)

// plinks are the files in a layer that aufs kept for hard links between its
// branches, in .wh..wh.plnk. A hard link to one becomes a file with its contents
// and metadata, as in Docker (pkg/archive/diff.go, UnpackLayer).
type plinks struct {
	files  map[string]plink // by name in plinkDir
	store  *spool
	warned bool
}

type plink struct {
	header *tar.Header
	at     stretch // in store
}

func isPlink(h *tar.Header) bool {
	return h.Typeflag == tar.TypeLink && strings.HasPrefix(path.Clean("/" + h.Linkname)[1:], plinkDir)
}

// warn reports the first of aufs's own entries in a layer.
func (p *plinks) warn(s *scan, h *tar.Header) {
	if !p.warned {
		p.warned = true
		s.warn.Add(h.Name, "this entry, like all of aufs's own, is not unpacked")
	}
}

// add keeps the contents of an entry that is about to be read, if it is a file in
// plinkDir.
func (p *plinks) add(s *scan, h *tar.Header, e *entry) error {
	name, is := strings.CutPrefix(e.clean, plinkDir)
	if !is || h.Typeflag != tar.TypeReg || isSparse(h) {
		return nil
	}
	if err := s.oddities.reserve(e.size); err != nil {
		return err
	}
	p.files[name] = plink{e.header, stretch{p.store.n, e.size}}
	s.tap.seen = func(b []byte) error {
		if _, err := p.store.Write(b); err != nil {
			return err
		}
		return s.split.segment(b)
	}
	return nil
}

// use hands on a hard link to one of the files as a file.
func (p *plinks) use(s *scan, h *tar.Header, e *entry) error {
	target := path.Clean("/" + h.Linkname)[1:]
	file, found := p.files[target[len(plinkDir):]]
	if !found {
		return wrong(ErrFormat, "a hard link into aufs's own %s, which the layer does not have", target)
	}
	if s.size += units.Bytes(file.at.size); s.size > s.limits.Bytes {
		return over("bytes", "files of more than %s", s.limits.Bytes)
	}
	e.header, e.size = file.header, file.at.size
	if err := s.queue.put(s.ctx, item{entry: e}); err != nil {
		return err
	}
	r := p.store.section(file.at.offset, file.at.size)
	for offset := int64(0); offset < e.size; offset += pieceSize {
		it := s.queue.data(offset, min(pieceSize, e.size-offset))
		if n, err := fill(r, it.data); n < len(it.data) {
			return err
		}
		if err := s.queue.put(s.ctx, it); err != nil {
			return err
		}
	}
	return nil
}
