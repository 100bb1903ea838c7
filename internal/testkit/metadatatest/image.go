package metadatatest

import (
	"bytes"
	"errors"
	"io"

	"thinctl/thinpool/metadata"
)

// Disk is a place for metadata: an *Image or an *os.File.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// Image is a metadata device in memory.
type Image struct{ Bytes []byte }

// Image saves the pool in memory.
func (p *Pool) Image(o SaveOptions) (*Image, metadata.Superblock, error) {
	m := &Image{}
	s, err := p.Save(m, o)
	if err == nil {
		err = m.Truncate(int64(s.MetadataBlocks) * int64(metadata.BlockSize))
	}
	return m, s, err
}

// Clone returns a copy.
func (m *Image) Clone() *Image { return &Image{bytes.Clone(m.Bytes)} }

// ReadAt implements io.ReaderAt.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.Bytes).ReadAt(p, off)
}

// WriteAt implements io.WriterAt; the image grows as needed.
func (m *Image) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("metadatatest: negative offset")
	}
	if need := off + int64(len(p)); need > int64(len(m.Bytes)) {
		if err := m.Truncate(need); err != nil {
			return 0, err
		}
	}
	return copy(m.Bytes[off:], p), nil
}

// Truncate shortens the image or extends it with zeros.
func (m *Image) Truncate(size int64) error {
	if n := size - int64(len(m.Bytes)); n > 0 {
		m.Bytes = append(m.Bytes, make([]byte, n)...)
	}
	m.Bytes = m.Bytes[:size]
	return nil
}
