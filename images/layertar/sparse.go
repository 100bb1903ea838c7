package layertar

import (
	"archive/tar"
	"hash/crc64"

	"github.com/vbatts/tar-split/tar/storage"
)

// extent is data of a sparse file that stands in the tar.
type extent struct {
	offset, size int64
	crc          uint64
}

// sparse handles the contents of a sparse entry of any kind. The tar has only
// the data, and tar-split has no words for files of which it has only a part:
// each extent becomes a line of its own, and an oddity tells its place.
//
// Where the data belong is archive/tar's knowledge. It shows in where it has
// them put: straight into the buffer that it was asked to fill.
func (s *scan) sparse(reader *tar.Reader, e *entry) error {
	var extents []extent
	var base int64
	var end int // capacity from the buffer's start on
	s.tap.seen = func(p []byte) error {
		at := base + int64(end-cap(p))
		if n := len(extents); n == 0 || extents[n-1].offset+extents[n-1].size != at {
			extents = append(extents, extent{offset: at})
		}
		x := &extents[len(extents)-1]
		x.size += int64(len(p))
		x.crc = crc64.Update(x.crc, storage.CRCTable, p)
		return nil
	}
	begin := func(offset int64, buf []byte) { base, end = offset, cap(buf) }
	if err := s.pieces(reader, e.size, begin); err != nil {
		return err
	}
	for _, x := range extents {
		crc := []byte{
			byte(x.crc >> 56), byte(x.crc >> 48), byte(x.crc >> 40), byte(x.crc >> 32),
			byte(x.crc >> 24), byte(x.crc >> 16), byte(x.crc >> 8), byte(x.crc),
		}
		position, err := s.split.file(e.name, x.size, crc)
		if err != nil {
			return err
		}
		if err := s.oddities.place(position, e.clean, x.offset); err != nil {
			return err
		}
		e.parts = append(e.parts, part{position: position, offset: x.offset, size: x.size})
	}
	return nil
}
