package layertar

import (
	"archive/tar"
	"path"
	"strings"

	"thinctl/units"
)

// plinks are the files of aufs's directory for hard links between branches,
// .wh..wh.plnk, in a layer. A hard link to one becomes a file with its contents and
// metadata, as in Docker (pkg/archive/diff.go, UnpackLayer).
type plinks struct {
	files  map[string]plink // by name in plinkDir
	store  *spool
	warned bool
}

type plink struct {
	header *tar.Header
	at     extent // in store
}

func isPlink(h *tar.Header) bool {
	return h.Typeflag == tar.TypeLink && strings.HasPrefix(path.Clean("/" + h.Linkname)[1:], plinkDir)
}

// warn adds a warning for the first of aufs's own entries in a layer.
func (p *plinks) warn(s *scan, h *tar.Header) {
	if !p.warned {
		p.warned = true
		s.warn.Add(h.Name, "this entry and all others for aufs's own use are not unpacked")
	}
}

// add keeps the contents of the next entry to be read, if it is a file in plinkDir.
func (p *plinks) add(s *scan, h *tar.Header, e *entry) error {
	name, is := strings.CutPrefix(e.clean, plinkDir)
	if !is || h.Typeflag != tar.TypeReg || isSparse(h) {
		return nil
	}
	if err := s.extras.reserve(e.size); err != nil {
		return err
	}
	p.files[name] = plink{e.header, extent{p.store.n, e.size}}
	s.input.seen = func(b []byte) error {
		if _, err := p.store.Write(b); err != nil {
			return err
		}
		return s.split.segment(b)
	}
	return nil
}

// use passes a hard link to one of the files to the tree, as a file.
func (p *plinks) use(s *scan, h *tar.Header, e *entry) error {
	target := path.Clean("/" + h.Linkname)[1:]
	file, found := p.files[target[len(plinkDir):]]
	if !found {
		return wrong(ErrFormat, "a hard link to %s of aufs, which the layer does not have", target)
	}
	if s.size += units.Bytes(file.at.size); s.size > s.limits.Bytes {
		return overLimit("bytes", "files of more than %s", s.limits.Bytes)
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
